// SPDX-License-Identifier: BSL-1.0
#include "terminal.hpp"
#include "terminal_mode.hpp"

#include <array>
#include <cctype>
#include <cerrno>
#include <iostream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

class raw_mode
{
public:
    explicit raw_mode(int fd) : before_(fd)
    {
        auto raw = before_.mode();
        ::cfmakeraw(&raw);
        if (::tcsetattr(fd, TCSANOW, &raw))
            throw std::system_error(errno, std::generic_category(), "The terminal's mode cannot be set");
    }

    raw_mode(const raw_mode&) = delete;
    raw_mode& operator=(const raw_mode&) = delete;

    ~raw_mode()
    {
        before_.restore();
    }

private:
    terminal_mode before_;
};

/// Standard input or output, which other processes may have open too.
///
/// Asio would switch the file to non-blocking mode, for these processes too. So Asio waits for an epoll set
/// that contains the file, and the file is read or written only when it is ready.
class shared_file
{
public:
    shared_file(asio::any_io_executor executor, int fd, std::uint32_t event)
        : name_(event == EPOLLIN ? "Standard input" : "Standard output"),
          fd_(fd),
          ready_(executor)
    {
        // A ready terminal may take less than what is written, so that a write could block. Opened once more,
        // it has a non-blocking mode of its own.
        if (::isatty(fd)) {
            const auto path = "/proc/self/fd/" + std::to_string(fd);
            const int mode = event == EPOLLIN ? O_RDONLY : O_WRONLY;
            own_ = ::open(path.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
            if (own_ >= 0)
                fd_ = own_;
        }
        ready_.assign(::epoll_create1(EPOLL_CLOEXEC));
        epoll_event watched{};
        watched.events = event;
        if (::epoll_ctl(ready_.native_handle(), EPOLL_CTL_ADD, fd_, &watched))
            ready_.close(); // A regular file, or /dev/null: always ready.
    }

    shared_file(const shared_file&) = delete;
    shared_file& operator=(const shared_file&) = delete;

    ~shared_file()
    {
        if (own_ >= 0)
            ::close(own_);
    }

    /// Calls ::read or ::write when it will not block.
    template <class Function>
    asio::awaitable<std::size_t> when_ready(Function function)
    {
        for (;;) {
            if (ready_.is_open())
                co_await ready_.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
            else
                co_await asio::post(ready_.get_executor(), asio::use_awaitable);
            const auto n = function(fd_);
            if (n >= 0)
                co_return static_cast<std::size_t>(n);
            if (errno != EAGAIN && errno != EINTR)
                throw ending(failed, name_ + " failed: " + std::generic_category().message(errno) + ".");
        }
    }

private:
    std::string name_;
    int fd_;
    int own_ = -1;
    asio::posix::stream_descriptor ready_;
};

/// Says something on standard error, in a line of its own.
void say_on_error(const std::string& message, bool is_at_line_start)
{
    if (!::isatty(STDERR_FILENO))
        std::cerr << '[' << message << "]\n";
    else // Perhaps in raw mode; dimmed.
        std::cerr << (is_at_line_start ? "" : "\r\n") << "\x1b[2m[" << message << "]\x1b[0m\r\n";
    std::cerr.flush();
}

class output final : public sink
{
public:
    explicit output(asio::any_io_executor executor) : file_(executor, STDOUT_FILENO, EPOLLOUT) {}

    asio::awaitable<void> write(std::string_view text) override
    {
        is_at_line_start_ = text.ends_with('\n');
        while (!text.empty()) {
            // A pipe that is ready takes this much without blocking.
            const auto part = text.substr(0, 4096);
            text.remove_prefix(
                co_await file_.when_ready([part](int fd) { return ::write(fd, part.data(), part.size()); }));
        }
    }

    asio::awaitable<void> say(std::string message) override
    {
        say_on_error(message, std::exchange(is_at_line_start_, true));
        co_return;
    }

private:
    shared_file file_;
    bool is_at_line_start_ = true;
};

class no_output final : public sink
{
    asio::awaitable<void> write(std::string_view) override
    {
        co_return;
    }

    asio::awaitable<void> say(std::string message) override
    {
        say_on_error(message, true);
        co_return;
    }
};

std::string key_name(char key)
{
    if (key == 0x7f)
        return "^?";
    if (static_cast<unsigned char>(key) < 0x20)
        return {'^', static_cast<char>(key + 0x40)};
    return {key};
}

/// Waits for the guest's answer to all that was typed.
asio::awaitable<void> answer(relay& console)
{
    co_await console.front().silence(relay::answer_time);
    // Of more than a console's room the session may hold some back, until it finds that the guest stalls.
    if (console.unanswered() > 4096)
        co_await console.front().silence(7s);
    const auto is_deaf = [&] {
        const auto state = console.session().state();
        return state != avirt::console_state::attached
            && (state != avirt::console_state::paused || console.unanswered() != 0);
    };
    while (is_deaf())
        co_await console.front().silence(relay::answer_time);
}

asio::awaitable<void> type(relay& console, std::string_view input, bool is_terminal)
{
    if (!is_terminal)
        co_return co_await console.type_all(input);
    const bool is_taken = co_await console.try_type(input);
    if (!is_taken)
        std::cerr << '\a'; // Dropped, as by terminals: while waiting, the relay would not see the escape.
}

asio::awaitable<ending> relay_input(relay& console, std::optional<char> escape, bool is_terminal)
{
    shared_file input(console.session().get_executor(), STDIN_FILENO, EPOLLIN);
    std::array<char, 4096> buffer;
    for (;;) {
        const auto n =
            co_await input.when_ready([&buffer](int fd) { return ::read(fd, buffer.data(), buffer.size()); });
        if (n == 0)
            break;
        const std::string_view typed(buffer.data(), n);
        const auto end = escape ? typed.find(*escape) : typed.npos;
        co_await type(console, typed.substr(0, end), is_terminal);
        if (end != typed.npos)
            co_return ending(succeeded, "Left the console of '" + console.domain() + "'.");
    }
    co_await answer(console);
    co_return ending(succeeded, "");
}

void greet(const relay& console, std::optional<char> escape)
{
    std::cerr << (console.waits() ? "Waiting for the console of '" : "Attached to '") << console.domain()
              << "'";
    if (escape)
        std::cerr << "; " << key_name(*escape) << " leaves";
    std::cerr << ".\n";
}

} // namespace

char parse_key(const std::string& text)
{
    if (text.size() == 1)
        return text[0];
    if (text.size() == 2 && text[0] == '^') {
        if (text[1] == '?')
            return 0x7f;
        const int key = std::toupper(static_cast<unsigned char>(text[1]));
        if (key >= '@' && key <= '_')
            return static_cast<char>(key - '@');
    }
    throw std::invalid_argument("'" + text + "' is not a key");
}

std::unique_ptr<sink> standard_output(asio::any_io_executor executor)
{
    return std::make_unique<output>(executor);
}

std::unique_ptr<sink> messages_only()
{
    return std::make_unique<no_output>();
}

asio::awaitable<ending> relay_to_terminal(relay& console, std::optional<char> escape)
{
    std::optional<raw_mode> raw;
    const bool is_terminal = ::isatty(STDIN_FILENO);
    if (is_terminal) {
        greet(console, escape);
        raw.emplace(STDIN_FILENO);
    }
    else {
        console.tell_stall();
    }
    const auto out = standard_output(console.session().get_executor());
    const auto over = co_await first_of(console.show(*out), relay_input(console, escape, is_terminal));
    co_await console.leave();
    co_return over;
}
