// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt::detail {

/// Is told what happens to a connection's socket: see socket_monitor::observe(). Called on the thread that
/// dispatches, while neither libvirt's locks nor the event loop's are held.
class socket_observer
{
public:
    /// libvirt is about to send something of its own, and reads while it sends.
    virtual void on_sending() {}
    /// libvirt has served the socket: its queues may have changed.
    virtual void on_served() {}
    /// The socket can be written, or never again: see socket_monitor::await_writable().
    virtual void on_writable() {}
    /// The peer is gone. What it sent before can be read once the socket is served again.
    virtual void on_hung_up() {}
    /// libvirt has given the connection up.
    virtual void on_lost() = 0;

protected:
    ~socket_observer() = default;
};

} // namespace avirt::detail
