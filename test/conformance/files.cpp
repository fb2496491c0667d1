// SPDX-License-Identifier: BSL-1.0
#include "files.hpp"

#include <libvirt/libvirt.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

namespace conformance {
namespace {

int checked(int result, const char* what)
{
    if (result < 0)
        throw std::system_error{errno, std::generic_category(), what};
    return result;
}

} // namespace

file& file::operator=(file&& other) noexcept
{
    if (this != &other) {
        close();
        fd_ = other.release();
    }
    return *this;
}

int file::release() noexcept
{
    return std::exchange(fd_, -1);
}

void file::close() noexcept
{
    if (fd_ >= 0)
        ::close(std::exchange(fd_, -1));
}

pipe_ends make_pipe()
{
    int ends[2];
    checked(::pipe2(ends, O_CLOEXEC), "pipe2");
    return {file{ends[0]}, file{ends[1]}};
}

socket_ends make_socket_pair()
{
    int ends[2];
    checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    return {file{ends[0]}, file{ends[1]}};
}

socket_ends make_tcp_pair()
{
    const file listener{checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    checked(::bind(listener.get(), generic, size), "bind");
    checked(::listen(listener.get(), 1), "listen");
    checked(::getsockname(listener.get(), generic, &size), "getsockname");
    socket_ends ends;
    ends.ours = file{checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")};
    checked(::connect(ends.ours.get(), generic, size), "connect");
    ends.peer = file{checked(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept4")};
    return ends;
}

socket_ends make_pty()
{
    int master = -1;
    int slave = -1;
    termios raw{};
    ::cfmakeraw(&raw);
    checked(::openpty(&master, &slave, nullptr, &raw, nullptr), "openpty");
    return {file{master}, file{slave}};
}

file make_event_counter(unsigned value)
{
    return file{checked(::eventfd(value, EFD_CLOEXEC), "eventfd")};
}

file make_regular_file(std::string_view content)
{
    char name[] = "/tmp/avirt-conformance-XXXXXX";
    file result{checked(::mkostemp(name, O_CLOEXEC), "mkostemp")};
    ::unlink(name);
    put(result.get(), content);
    ::lseek(result.get(), 0, SEEK_SET);
    return result;
}

file open_null()
{
    return file{checked(::open("/dev/null", O_RDWR | O_CLOEXEC), "open")};
}

pipe_ends make_pipe_at(int fd)
{
    auto ends = make_pipe();
    if (ends.writer.get() == fd)
        ends.writer = file{checked(::fcntl(fd, F_DUPFD_CLOEXEC, fd + 1), "fcntl")};
    if (ends.reader.get() != fd) {
        if (::fcntl(fd, F_GETFD) >= 0)
            throw std::logic_error{"the fd is in use"};
        ends.reader = file{checked(::dup3(ends.reader.get(), fd, O_CLOEXEC), "dup3")};
    }
    return ends;
}

void put(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto n = ::write(fd, bytes.data(), bytes.size());
        checked(static_cast<int>(n), "write");
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

std::string take(int fd, std::size_t most)
{
    std::string bytes(std::min(most, static_cast<std::size_t>(unread_bytes(fd))), '\0');
    if (bytes.empty())
        return bytes;
    const auto n = ::read(fd, bytes.data(), bytes.size());
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return bytes;
}

int unread_bytes(int fd)
{
    int count = 0;
    checked(::ioctl(fd, FIONREAD, &count), "FIONREAD");
    return count;
}

int poll_now(int fd, int events)
{
    const std::pair<short, int> bits[] = {
        {POLLIN, VIR_EVENT_HANDLE_READABLE},
        {POLLOUT, VIR_EVENT_HANDLE_WRITABLE},
        {POLLERR, VIR_EVENT_HANDLE_ERROR},
        {POLLHUP, VIR_EVENT_HANDLE_HANGUP}};
    pollfd asked{fd, 0, 0};
    for (const auto& [native, bit] : bits)
        if ((events & bit) != 0)
            asked.events = static_cast<short>(asked.events | native);
    checked(::poll(&asked, 1, 0), "poll");
    int result = 0;
    for (const auto& [native, bit] : bits)
        if ((asked.revents & native) != 0)
            result |= bit;
    return result;
}

int status_flags(int fd)
{
    return checked(::fcntl(fd, F_GETFL), "fcntl");
}

bool in_an_epoll_set(int fd)
{
    namespace fs = std::filesystem;
    std::vector<std::string> sets;
    for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
        std::error_code ignored;
        if (fs::read_symlink(entry.path(), ignored).string() == "anon_inode:[eventpoll]")
            sets.push_back(entry.path().filename().string());
    }
    for (const auto& set : sets) {
        std::ifstream info{"/proc/self/fdinfo/" + set};
        std::string word;
        while (info >> word)
            if (int watched = -1; word == "tfd:" && info >> watched && watched == fd)
                return true;
    }
    return false;
}

} // namespace conformance
