// SPDX-License-Identifier: BSL-1.0
#include "terminal.hpp"
#include "terminal_mode.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <array>
#include <cctype>
#include <cerrno>
#include <iostream>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

using namespace asio::experimental::awaitable_operators;
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

class output final : public sink
{
public:
    explicit output(asio::any_io_executor executor) : file_(executor, STDOUT_FILENO, EPOLLOUT) {}

    asio::awaitable<bool> write(std::string_view text) override
    {
        while (!text.empty()) {
            // A pipe that is ready takes this much without blocking.
            const auto part = text.substr(0, 4096);
            text.remove_prefix(
                co_await file_.when_ready([part](int fd) { return ::write(fd, part.data(), part.size()); }));
        }
        co_return true;
    }

private:
    shared_file file_;
};

std::string key_name(char key)
{
    if (key == 0x7f)
        return "^?";
    if (static_cast<unsigned char>(key) < 0x20)
        return {'^', static_cast<char>(key + 0x40)};
    return {key};
}

asio::awaitable<ending> relay_input(relay& console, std::optional<char> escape, bool is_terminal)
{
    const auto executor = console.stream().get_executor();
    shared_file input(executor, STDIN_FILENO, EPOLLIN);
    std::array<char, 4096> buffer;
    if (!is_terminal)
        console.take_risks();
    for (;;) {
        const auto n =
            co_await input.when_ready([&buffer](int fd) { return ::read(fd, buffer.data(), buffer.size()); });
        if (n == 0)
            break;
        std::string_view typed(buffer.data(), n);
        const auto end = escape ? typed.find(*escape) : typed.npos;
        typed = typed.substr(0, end);
        if (!is_terminal)
            co_await console.type(typed);
        else if (!typed.empty() && !console.try_type(typed))
            std::cerr << '\a'; // Dropped, as by terminals: while waiting, the relay would not see the escape.
        if (end != typed.npos) {
            asio::steady_timer patience(executor, 1s);
            co_await (console.sent() || patience.async_wait(asio::use_awaitable));
            co_return ending(succeeded, "Left the console of '" + console.domain() + "'.");
        }
    }
    co_await console.sent();
    co_await console.silence(console.answer_time);
    co_return ending(succeeded, "");
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

std::shared_ptr<sink> standard_output(asio::any_io_executor executor)
{
    return std::make_shared<output>(executor);
}

asio::awaitable<ending> relay_to_terminal(relay& console, std::optional<char> escape)
{
    std::optional<raw_mode> raw;
    const bool is_terminal = ::isatty(STDIN_FILENO);
    if (is_terminal) {
        std::cerr << "Attached to '" << console.domain() << "'";
        if (escape)
            std::cerr << "; " << key_name(*escape) << " leaves";
        std::cerr << ".\n";
        raw.emplace(STDIN_FILENO);
    }
    co_await console.attach(standard_output(console.stream().get_executor()));
    co_return co_await relay_input(console, escape, is_terminal);
}
