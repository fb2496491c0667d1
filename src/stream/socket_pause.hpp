// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/socket_monitor.hpp"

namespace avirt::detail {

/// Pauses the socket of a stream's own connection while the stream has bytes that were not read.
///
/// libvirt reads a socket only if its queue is known to be empty and everything that was received has been
/// read: the queue has no bound, and an error that arrives behind queued data takes its place
/// (docs/libvirt.md, "Backpressure").
class socket_pause
{
public:
    /// @param socket The socket, which connect_for_stream() has paused.
    explicit socket_pause(connection_socket& socket) noexcept : socket_(socket) {}

    bool is_paused() const noexcept
    {
        return is_paused_;
    }

    /// Pauses the socket, or lets libvirt read it again.
    void update(bool has_unread) noexcept
    {
        if (has_unread == is_paused_)
            return;
        is_paused_ = has_unread;
        if (is_paused_)
            socket_monitor::instance().pause(socket_);
        else
            socket_monitor::instance().resume(socket_);
    }

private:
    connection_socket& socket_;
    bool is_paused_ = true;
};

} // namespace avirt::detail
