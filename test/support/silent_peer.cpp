// SPDX-License-Identifier: BSL-1.0
#include "support/silent_peer.hpp"

#include "support/certificates.hpp"
#include "support/temporary_directory.hpp"
#include "support/unix_socket.hpp"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace support {
namespace {

namespace fs = std::filesystem;

sockaddr* as_address(sockaddr_in& address)
{
    return reinterpret_cast<sockaddr*>(&address);
}

bool is_readable(int fd)
{
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&p, 1, 0) == 1;
}

/// Whether a thread of this process is inside connect().
bool is_connecting()
{
    for (const auto& thread : fs::directory_iterator("/proc/self/task")) {
        long number = -1;
        if (std::ifstream(thread.path() / "syscall") >> number && number == SYS_connect)
            return true;
    }
    return false;
}

} // namespace

silent_peer::silent_peer(kind k) : kind_(k), directory_(make_temporary_directory("/tmp/avirt-silent-"))
{
    switch (kind_) {
    case kind::command:
        write_command();
        [[fallthrough]];
    case kind::accepts:
    case kind::has_no_room:
        keep(listen_on(directory_ / "socket"));
        break;
    case kind::shakes_no_hand:
        make_certificates(directory_);
        [[fallthrough]];
    case kind::has_no_room_over_tcp:
        listen_on_tcp_socket();
        break;
    }
    if (kind_ == kind::has_no_room || kind_ == kind::has_no_room_over_tcp)
        fill_up();
}

silent_peer::~silent_peer()
{
    leave();
    remove_files();
}

void silent_peer::remove_files() const noexcept
{
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
}

void silent_peer::leave() noexcept
{
    ::close(std::exchange(client_, -1));
    for (const int fd : std::exchange(fds_, {}))
        ::close(fd);
}

std::string silent_peer::uri() const
{
    const auto host = "127.0.0.1:" + std::to_string(port_);
    switch (kind_) {
    case kind::has_no_room_over_tcp:
        return "qemu+tcp://" + host + "/session";
    case kind::shakes_no_hand:
        return "qemu+tls://" + host + "/session?pkipath=" + directory_.string();
    case kind::command:
        return "qemu+ext:///session?command=" + (directory_ / "command").string();
    default:
        return "qemu+unix:///session?socket=" + (directory_ / "socket").string();
    }
}

bool silent_peer::is_waited_for()
{
    switch (kind_) {
    case kind::has_no_room:
    case kind::has_no_room_over_tcp:
        return is_connecting();
    default:
        return has_been_written_to();
    }
}

void silent_peer::keep(int fd)
{
    if (fd < 0)
        throw std::system_error(errno, std::generic_category(), "creating a silent peer");
    fds_.push_back(fd);
}

void silent_peer::listen_on_tcp_socket()
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    keep(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int fd = fds_.front();
    if (::bind(fd, as_address(address), size) != 0 || ::listen(fd, 16) != 0
        || ::getsockname(fd, as_address(address), &size) != 0)
        throw std::system_error(errno, std::generic_category(), "creating a silent peer");
    port_ = ::ntohs(address.sin_port);
}

/// Fills the queue: with a backlog of 0, a socket still takes one client.
void silent_peer::fill_up()
{
    ::listen(fds_.front(), 0);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(fds_.front(), reinterpret_cast<sockaddr*>(&address), &size);
    keep(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fds_.back(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
        throw std::system_error(errno, std::generic_category(), "creating a silent peer");
}

void silent_peer::write_command() const
{
    const auto script = directory_ / "command";
    std::ofstream(script) << "#!/bin/sh\nexec " SOCKET_BRIDGE " " << directory_ / "socket" << '\n';
    fs::permissions(script, fs::perms(0755));
}

bool silent_peer::has_been_written_to()
{
    if (client_ < 0 && is_readable(fds_.front()))
        client_ = ::accept4(fds_.front(), nullptr, nullptr, SOCK_CLOEXEC);
    return client_ >= 0 && is_readable(client_);
}

std::ostream& operator<<(std::ostream& out, silent_peer::kind k)
{
    constexpr const char* names[] = {
        "accepts", "queue is full", "queue is full over TCP", "no TLS handshake", "command"};
    return out << names[static_cast<int>(k)];
}

} // namespace support
