// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"
#include "loop/socket_observer.hpp"

#include <avirt/detail/failure.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace avirt::detail {

/// How many bytes a socket holds that were not read, here and by the peer.
struct socket_buffers
{
    int unread = 0;
    int unsent = 0;
};

/// What is known of the socket that leads to a connection's daemon. It lets avirt send without blocking, stop
/// reading, and interrupt calls that are stuck (docs/libvirt.md, "A connection's socket").
///
/// Guarded by the lock of event_tables, except for the URI, which is set first, and the atomic members, which
/// are written under the lock and read without it.
struct connection_socket
{
    enum class end { none, peer, silence, interrupted };

    std::string uri;
    /// The socket while libvirt watches it; -1 otherwise.
    std::atomic<int> fd{-1};
    /// Whether libvirt has watched a socket: the driver is not in this process then.
    std::atomic<bool> is_remote{false};
    /// Why libvirt gave the connection up, or will give it up.
    std::atomic<end> ended_by{end::none};

    /// A pidfd of the command that libvirt has started to reach the daemon, such as ssh.
    unique_fd command;
    int watch = 0;
    std::vector<std::weak_ptr<socket_observer>> observers;

    // Of the keepalive: see keepalive_monitor.hpp.

    /// Number of keepalive intervals without a sign of life after which the connection is interrupted; 0:
    /// never.
    unsigned max_silence = 0;
    /// Number of such intervals so far.
    unsigned silence = 0;
    /// What the socket held at the end of the latest interval.
    socket_buffers held{};
    /// Whether the socket carries libvirt's messages as they are, without encryption or framing.
    bool is_plain = false;

    // Of the closing: see close_deadline.hpp.

    unsigned uses = 0;     ///< connection_use objects.
    unsigned waits = 0;    ///< daemon_wait objects.
    unsigned closings = 0; ///< closing_scope objects that drop the last reference.
    /// Whether the application may hold a reference: avirt must not interrupt its calls then.
    bool is_shared = false;
    int close_timer = 0; ///< The timer that interrupts the connection; 0: none.
};

/// Explains what libvirt has reported on a connection by what is known of its socket, which may be null.
failure explain_by_socket(failure f, const std::shared_ptr<connection_socket>& socket);

/// What an operation fails with on a connection that libvirt has given up, or will give up.
failure lost_failure(const connection_socket& socket);

/// The command that this thread has just started behind a connection's socket; none if the socket does not
/// lead to one.
unique_fd command_behind(int fd) noexcept;

/// Shuts the socket down, which frees the threads that are stuck in libvirt on the connection, and ends the
/// command behind it. The first reason is kept. Call with the lock held: later the number may mean another
/// file.
void shut_down(connection_socket& socket, connection_socket::end why) noexcept;

/// Whether the connection's socket is a Unix socket.
bool is_local(const connection_socket& socket) noexcept;

socket_buffers measure_buffers(const connection_socket& socket) noexcept;

/// Sends the answer to a PING that was not asked for: it tells the daemon that this client lives without
/// calling libvirt, which would also read. Only for a Unix socket that has room, while no thread sends on it.
void send_pong(const connection_socket& socket) noexcept;

/// How many of @p wanted bytes the connection's socket takes now without blocking the sender; 0: none.
std::size_t room_to_send(const connection_socket& socket, std::size_t wanted) noexcept;

/// Makes room for large sends on the socket of a connection that only avirt uses.
void enlarge_send_buffer(const connection_socket& socket) noexcept;

} // namespace avirt::detail
