// SPDX-License-Identifier: BSL-1.0
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace relay_test {
namespace {

using std::chrono::steady_clock;

int check(int result, const char* what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

struct pipe_ends
{
    file read;
    file write;
};

pipe_ends make_pipe()
{
    std::array<int, 2> fds;
    check(::pipe2(fds.data(), O_CLOEXEC), "pipe");
    return {file(fds[0]), file(fds[1])};
}

/// Appends what can be read; returns false at the end.
bool append(int fd, std::string& text)
{
    std::array<char, 65536> buffer;
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n > 0)
        text.append(buffer.data(), static_cast<std::size_t>(n));
    return n > 0;
}

std::string take(std::string& text, std::size_t size)
{
    auto taken = text.substr(0, size);
    text.erase(0, size);
    return taken;
}

[[noreturn]] void never_came(std::string_view text, std::string_view name, const std::string& instead)
{
    throw std::runtime_error(
        "'" + std::string(text) + "' did not arrive on " + std::string(name) + "; this did: '" + instead
        + "'");
}

std::string contents(const std::filesystem::path& path)
{
    // Not by iterators: they throw if the file is that of a process that ends just then.
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

void write_all(int fd, std::string_view text)
{
    while (!text.empty())
        text.remove_prefix(static_cast<std::size_t>(
            check(static_cast<int>(::write(fd, text.data(), text.size())), "write")));
}

termios mode_of(int terminal)
{
    termios mode{};
    check(::tcgetattr(terminal, &mode), "tcgetattr");
    return mode;
}

} // namespace

void wait_until(const std::string& what, const std::function<bool()>& condition)
{
    const auto end = steady_clock::now() + limit;
    while (!condition()) {
        if (steady_clock::now() > end)
            throw std::runtime_error("timed out waiting for: " + what);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

// ---- private_directory

private_directory::private_directory()
{
    std::signal(SIGPIPE, SIG_IGN);
    // Short, because the path of a socket is limited to about 100 characters.
    path_ = "/tmp/avirt-relay-XXXXXX";
    if (!::mkdtemp(path_.data()))
        throw std::system_error(errno, std::generic_category(), path_);
    ::chmod(path_.c_str(), 01777);
    const char* before = std::getenv("TMPDIR");
    before_ = before ? before : "/tmp";
    ::setenv("TMPDIR", path_.c_str(), 1);
}

private_directory::~private_directory()
{
    ::setenv("TMPDIR", before_.c_str(), 1);
    for (const auto pid : users()) {
        BOOST_ERROR(
            "left behind: process " << pid << ", " << contents("/proc/" + std::to_string(pid) + "/cmdline"));
        ::kill(pid, SIGKILL);
    }
    for (const auto& entry : std::filesystem::directory_iterator(path_))
        BOOST_ERROR("left behind: " << entry.path());
    std::filesystem::remove_all(path_);
}

std::vector<pid_t> private_directory::users() const
{
    std::vector<pid_t> found;
    std::error_code gone;
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
        const auto pid = std::atoi(process.path().filename().c_str());
        if (pid > 0 && pid != ::getpid()
            && (contents(process.path() / "cmdline") + contents(process.path() / "environ")).find(path_)
                != std::string::npos)
            found.push_back(pid);
    }
    return found;
}

// ---- file

file& file::operator=(file&& other) noexcept
{
    if (this != &other) {
        close();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

file::~file()
{
    close();
}

void file::close()
{
    if (fd_ >= 0)
        ::close(std::exchange(fd_, -1));
}

// ---- relay_program

relay_program::relay_program(const arguments& args, const pipes& what)
{
    auto in = make_pipe();
    auto out = make_pipe();
    auto err = make_pipe();
    output_.from = std::move(out.read);
    errors_.from = std::move(err.read);
    if (what.input_file.empty())
        input_ = std::move(in.write);
    else
        in.read = file(check(::open(what.input_file.c_str(), O_RDONLY | O_CLOEXEC), "open"));
    start(args, in.read.get(), out.write.get(), err.write.get());
}

relay_program::relay_program(const arguments& args, terminal what)
{
    int master = -1;
    int slave = -1;
    check(::openpty(&master, &slave, nullptr, nullptr, nullptr), "openpty");
    input_ = file(master);
    output_.from = file(::fcntl(master, F_DUPFD_CLOEXEC, 0));
    ::fcntl(master, F_SETFD, FD_CLOEXEC);
    slave_ = file(slave); // Kept open to check the terminal's state at the end.
    ::fcntl(slave, F_SETFD, FD_CLOEXEC);
    before_ = mode_of(slave);
    auto err = make_pipe();
    errors_.from = std::move(err.read);
    start(args, slave, slave, what == terminal::all_three ? slave : err.write.get());
}

void relay_program::start(const arguments& args, int in, int out, int err)
{
    std::vector<const char*> argv{CONSOLE_RELAY};
    for (const auto& a : args)
        argv.push_back(a.c_str());
    argv.push_back(nullptr);
    pid_ = check(::fork(), "fork");
    if (pid_ == 0) {
        ::dup2(in, 0);
        ::dup2(out, 1);
        ::dup2(err, 2);
        std::signal(SIGPIPE, SIG_DFL);
        ::execv(argv[0], const_cast<char**>(argv.data()));
        ::_exit(127);
    }
    process_ = file(check(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), "pidfd_open"));
}

relay_program::~relay_program()
{
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
}

void relay_program::type(std::string_view input)
{
    write_all(input_.get(), input);
}

void relay_program::end_input()
{
    input_.close();
}

void relay_program::close_output()
{
    output_.from.close();
}

std::string relay_program::output(std::string_view text)
{
    return expect(output_, text, "standard output");
}

std::string relay_program::errors(std::string_view text)
{
    return expect(errors_, text, "standard error");
}

/// Reads from both, so that the relay never waits for its reader. Returns false when the relay has ended and
/// everything is read.
bool relay_program::read_some(int timeout)
{
    std::array<pollfd, 3> polled{{
        {output_.from.get(), POLLIN, 0},
        {errors_.from.get(), POLLIN, 0},
        {process_.get(), POLLIN, 0},
    }};
    check(::poll(polled.data(), polled.size(), timeout), "poll");
    if (polled[0].revents && !append(output_.from.get(), output_.text))
        output_.from.close();
    if (polled[1].revents && !append(errors_.from.get(), errors_.text))
        errors_.from.close();
    const bool has_ended = polled[2].revents & POLLIN;
    return !has_ended || polled[0].revents || polled[1].revents;
}

std::string relay_program::expect(source& s, std::string_view text, const char* name)
{
    const auto end = steady_clock::now() + limit;
    for (;;) {
        if (const auto at = s.text.find(text); at != std::string::npos)
            return take(s.text, at + text.size());
        if (steady_clock::now() > end || !read_some(1000))
            never_came(text, name, output_.text + "' and '" + errors_.text);
    }
}

int relay_program::status()
{
    const auto end = steady_clock::now() + limit;
    while (read_some(1000)) {
        if (steady_clock::now() > end)
            throw std::runtime_error("the relay did not end: '" + errors_.text + "'");
    }
    int status = 0;
    check(::waitpid(std::exchange(pid_, -1), &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool relay_program::is_raw() const
{
    return (mode_of(slave_.get()).c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

bool relay_program::is_as_before() const
{
    const auto now = mode_of(slave_.get());
    return now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag && now.c_cflag == before_.c_cflag
        && now.c_lflag == before_.c_lflag && std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
}

bool relay_program::is_nonblocking() const
{
    return ::fcntl(slave_.get(), F_GETFL) & O_NONBLOCK;
}

void relay_program::send_signal(int signal) const
{
    check(::kill(pid_, signal), "kill");
}

bool relay_program::catches(int signal) const
{
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("SigCgt:"))
            return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1)) & 1;
    }
    return false;
}

void relay_program::freeze() const
{
    send_signal(SIGSTOP);
    check(::waitpid(pid_, nullptr, WUNTRACED), "waitpid");
}

void relay_program::thaw() const
{
    send_signal(SIGCONT);
}

// ---- client

client::client(const std::string& address)
{
    sockaddr_storage peer{};
    socklen_t size = 0;
    if (address.starts_with("unix:")) {
        auto& a = reinterpret_cast<sockaddr_un&>(peer);
        a.sun_family = AF_UNIX;
        std::strncpy(a.sun_path, address.c_str() + 5, sizeof a.sun_path - 1);
        size = sizeof a;
    }
    else {
        const auto colon = address.rfind(':');
        auto& a = reinterpret_cast<sockaddr_in&>(peer);
        a.sin_family = AF_INET;
        a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
        ::inet_pton(AF_INET, address.substr(4, colon - 4).c_str(), &a.sin_addr);
        size = sizeof a;
    }
    socket_ = file(check(::socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    check(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&peer), size), address.c_str());
}

void client::type(std::string_view input)
{
    write_all(socket_.get(), input);
}

bool client::read_some(std::string_view awaited)
{
    pollfd polled{socket_.get(), POLLIN, 0};
    if (check(::poll(&polled, 1, static_cast<int>(std::chrono::milliseconds(limit).count())), "poll") == 0)
        never_came(awaited, "the client's socket", text_);
    errno = 0;
    const bool has_more = append(socket_.get(), text_);
    if (!has_more && errno == ECONNRESET)
        throw std::runtime_error("the connection was reset after '" + text_ + "'");
    return has_more;
}

std::string client::output(std::string_view text)
{
    for (;;) {
        if (const auto at = text_.find(text); at != std::string::npos)
            return take(text_, at + text.size());
        if (!read_some(text))
            never_came(text, "the client's socket", text_);
    }
}

std::string client::rest()
{
    while (read_some("the end"))
        ;
    return text_;
}

int client::unread() const
{
    int size = 0;
    check(::ioctl(socket_.get(), FIONREAD, &size), "FIONREAD");
    return size;
}

void client::end_input()
{
    check(::shutdown(socket_.get(), SHUT_WR), "shutdown");
}

void client::close()
{
    socket_.close();
}

} // namespace relay_test
