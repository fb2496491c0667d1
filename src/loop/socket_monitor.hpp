// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/close_deadline.hpp"
#include "loop/connection_socket.hpp"
#include "loop/event_tables.hpp"
#include "loop/socket_scopes.hpp"

#include <memory>
#include <vector>

namespace avirt::detail {

/// Observes, pauses and interrupts the sockets of connections, and knows which watch belongs to which. The
/// public functions do nothing for a socket that libvirt does not watch (any more).
class socket_monitor
{
public:
    using lock = event_tables::lock;

    socket_monitor(event_tables& tables, close_deadline& deadlines) noexcept;

    /// The monitor of this process.
    static socket_monitor& instance();

    // These may be called from any thread, without the lock of the tables.

    /// Adds an observer, unless it observes the socket already, and forgets those that are gone.
    void observe(connection_socket& socket, std::weak_ptr<socket_observer> observer);
    /// Leaves what arrives in the socket until it is resumed.
    void pause(const connection_socket& socket) noexcept;
    void resume(const connection_socket& socket) noexcept;
    /// Tells the observers, once, when the socket can be written.
    void await_writable(const connection_socket& socket) noexcept;
    /// Shuts the socket down: the threads that are stuck in libvirt on this connection return, and the
    /// connection is lost (docs/libvirt.md, "A connection's socket").
    void interrupt(connection_socket& socket) noexcept;
    /// The same, if nothing but the connection's owner uses the connection. Otherwise close_deadline applies
    /// when the last use has ended.
    void interrupt_unless_used(connection_socket& socket) noexcept;
    /// The same, if the last reference to the connection is being dropped.
    void interrupt_closing(connection_socket& socket) noexcept;

    // These are called with the lock held.

    /// libvirt has added the watch of the connection's socket.
    void attach(connection_socket& socket, int watch, int fd) noexcept;
    /// libvirt updates a watch on a thread that searches a socket. Returns whether that has ended the search.
    bool find(socket_search& search, int watch) noexcept;
    /// A watch was removed. Returns whether a deferred call tells the observers that their connection is
    /// lost.
    ///
    /// @param by_keepalive Whether libvirt's keepalive on that socket gave the connection up.
    bool detach(const watch_table::watch& removed, bool by_keepalive) noexcept;

    /// Calls the observers with the lock released; they may end meanwhile. For the thread that dispatches.
    /// Returns whether there are any.
    bool notify(lock& held, const connection_socket& socket, void (socket_observer::*event)());

private:
    event_tables& tables_;
    close_deadline& deadlines_;
    std::vector<std::shared_ptr<socket_observer>> notified_; // kept to allocate nothing in each call
};

} // namespace avirt::detail
