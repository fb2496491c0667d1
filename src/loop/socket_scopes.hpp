// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"

#include <memory>

namespace avirt::detail {

// libvirt does not say to which connection a watch or a timeout belongs. But it adds and updates them on the
// thread that opens or uses the connection (docs/libvirt.md, "Who uses the loop"): these scopes tell the
// event loop what that thread is doing.

/// While it lives, what this thread registers is reported under the connection's URI: in particular what the
/// application registers in a call on the connection.
class owner_scope
{
public:
    explicit owner_scope(std::shared_ptr<connection_socket> socket) noexcept;
    ~owner_scope();
    owner_scope(const owner_scope&) = delete;
    owner_scope& operator=(const owner_scope&) = delete;

    /// The socket of this thread's innermost scope, or null.
    static const std::shared_ptr<connection_socket>& current() noexcept;

private:
    std::shared_ptr<connection_socket> outer_;
};

/// While it lives, what this thread registers is the connection's socket or keepalive timer, and is reported
/// under its URI: libvirt registers both inside virConnectOpen.
///
/// The socket is paused until this thread calls the daemon for the first time: libvirt would never free a
/// connection that the loop finds lost before virConnectOpen has set up its keepalive (docs/libvirt.md,
/// "A connection's socket").
class opening_scope
{
public:
    explicit opening_scope(std::shared_ptr<connection_socket> socket) noexcept;
    ~opening_scope();
    opening_scope(const opening_scope&) = delete;
    opening_scope& operator=(const opening_scope&) = delete;

    /// The socket of this thread's innermost scope, or null.
    static const std::shared_ptr<connection_socket>& current() noexcept;

private:
    owner_scope owner_;
    std::shared_ptr<connection_socket> outer_;
};

/// Finds the socket of the connection that this thread uses while it lives: libvirt disables the watch of a
/// connection's socket on the thread that calls. socket_monitor fills it in.
class socket_search
{
public:
    /// @param unknown is assigned to the socket if it is not known yet; null: a new one is.
    explicit socket_search(std::shared_ptr<connection_socket> unknown) noexcept;
    virtual ~socket_search();
    socket_search(const socket_search&) = delete;
    socket_search& operator=(const socket_search&) = delete;

    /// This thread's innermost search, or null.
    static socket_search* current() noexcept;

    /// Called when the socket was found, with libvirt's locks held.
    virtual void on_found() noexcept {}

    std::shared_ptr<connection_socket> unknown;
    std::shared_ptr<connection_socket> found{};

private:
    socket_search* const outer_;
};

/// Notes the watch that libvirt adds on this thread while it lives.
class added_watch
{
public:
    added_watch() noexcept;
    added_watch(const added_watch&) = delete;
    added_watch& operator=(const added_watch&) = delete;

    /// The latest one; 0: there was none.
    int watch() const noexcept;

    /// Called when a watch was added on this thread.
    static void note(int watch) noexcept;
};

} // namespace avirt::detail
