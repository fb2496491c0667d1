// SPDX-License-Identifier: BSL-1.0
#include "loop/connection_socket.hpp"

#include <libvirt/virterror.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <new>
#include <utility>

namespace avirt::detail {
namespace {

/// What a writable socket of any kind always takes.
constexpr std::size_t small_send = 4 * 1024;

/// Returns false if the peer is gone: libvirt gives the connection up with the first send that fails, and
/// loses all that has arrived before.
bool is_writable(int fd) noexcept
{
    pollfd p{.fd = fd, .events = POLLOUT, .revents = 0};
    return ::poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

int socket_option(int fd, int name) noexcept
{
    int value = 0;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

std::size_t not_negative(std::int64_t value) noexcept
{
    return value > 0 ? static_cast<std::size_t>(value) : 0;
}

/// A Unix socket counts its packets with their overhead, which is 3 %.
std::size_t room_in_unix_socket(int fd) noexcept
{
    int used = 0;
    if (::ioctl(fd, SIOCOUTQ, &used) != 0)
        return 0;
    const auto room = not_negative(std::int64_t{socket_option(fd, SO_SNDBUF)} - used);
    return room - room / 16;
}

/// A TCP socket has to stay writable while it takes so much: under TLS libvirt sends a record at a time, and
/// waits in between until poll() reports room for another one (docs/libvirt.md, "Sending"). poll() reports it
/// while less than two thirds of the buffer are used, which counts an overhead of less than a third.
std::size_t room_in_tcp_socket(int fd) noexcept
{
    std::uint32_t info[SK_MEMINFO_VARS]{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0)
        return 0;
    const std::int64_t buffer = info[SK_MEMINFO_SNDBUF];
    const std::int64_t used = info[SK_MEMINFO_WMEM_QUEUED];
    return not_negative((buffer * 2 / 3 - used) * 3 / 4);
}

} // namespace

failure explain_by_socket(failure f, const std::shared_ptr<connection_socket>& socket)
{
    // libvirt ends its watch of the socket before it reports a loss.
    return socket && socket->is_remote ? with_connection(std::move(f), socket->fd >= 0) : f;
}

failure lost_failure(const connection_socket& socket)
{
    const auto because = [](const char* why) {
        return describe_failure(VIR_FROM_RPC, why, condition::connection_lost);
    };
    switch (socket.ended_by) {
    case connection_socket::end::silence:
        return because("connection lost: the daemon does not answer");
    case connection_socket::end::interrupted:
        return because("connection lost: it was interrupted by a cancellation");
    default:
        return because("connection lost: the daemon has closed it");
    }
}

unique_fd command_behind(int fd) noexcept
try {
    // A command is behind one socket of a pair, which has no name. The socket of a daemon has a name.
    sockaddr_un peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sun_family != AF_UNIX
        || size > sizeof peer.sun_family)
        return {};
    pid_t latest = 0;
    std::ifstream children("/proc/thread-self/children"); // in the order in which they were started
    for (pid_t child = 0; children >> child;)
        latest = child;
    return latest > 0 ? unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, latest, 0))) : unique_fd();
}
catch (const std::bad_alloc&) {
    return {};
}

void shut_down(connection_socket& socket, connection_socket::end why) noexcept
{
    if (socket.ended_by == connection_socket::end::none)
        socket.ended_by = why;
    // libvirt reads the command's stderr to its end when the socket ends (docs/libvirt.md, "A connection's
    // socket"). A stopped command receives SIGTERM only when it continues.
    for (const int number : {SIGTERM, SIGCONT}) {
        if (socket.command)
            ::syscall(SYS_pidfd_send_signal, socket.command.get(), number, nullptr, 0);
    }
    if (socket.fd >= 0)
        ::shutdown(socket.fd, SHUT_RDWR);
}

bool is_local(const connection_socket& socket) noexcept
{
    const int fd = socket.fd;
    return fd >= 0 && socket_option(fd, SO_DOMAIN) == AF_UNIX;
}

socket_buffers measure_buffers(const connection_socket& socket) noexcept
{
    socket_buffers held;
    ::ioctl(socket.fd, FIONREAD, &held.unread);
    ::ioctl(socket.fd, SIOCOUTQ, &held.unsent);
    return held;
}

void send_pong(const connection_socket& socket) noexcept
{
    // libvirt's src/rpc/virkeepaliveprotocol.x: length, program "keep", version, PONG, a message, serial, OK.
    static constexpr std::array<unsigned char, 28> pong{0, 0, 0, 28, 'k', 'e', 'e', 'p', 0, 0, 0, 1, 0, 0,
                                                        0, 2, 0, 0,  0,   2,   0,   0,   0, 0, 0, 0, 0, 0};
    // A Unix socket takes a message of this size as a whole or not at all.
    [[maybe_unused]] const auto sent =
        ::send(socket.fd, pong.data(), pong.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

std::size_t room_to_send(const connection_socket& socket, std::size_t wanted) noexcept
{
    const int fd = socket.fd;
    if (fd < 0 || !is_writable(fd))
        return 0;
    if (wanted <= small_send)
        return wanted;
    return std::clamp(
        is_local(socket) ? room_in_unix_socket(fd) : room_in_tcp_socket(fd), small_send, wanted);
}

void enlarge_send_buffer(const connection_socket& socket) noexcept
{
    // The kernel doubles it, and limits it to what is allowed, which is still enough for the largest send.
    constexpr int size = 512 * 1024;
    const int fd = socket.fd;
    if (is_local(socket) && socket_option(fd, SO_SNDBUF) < 2 * size)
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

} // namespace avirt::detail
