// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/socket_scopes.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <functional>
#include <memory>

namespace avirt::detail {

/// A connection is in use while one of these lives: while it is open, has a stream, or an operation waits for
/// its end. Afterwards close_deadline limits what is still under way. May be ended from any thread.
class connection_use
{
public:
    connection_use() = default;
    /// @param socket may be null.
    explicit connection_use(std::shared_ptr<connection_socket> socket) noexcept;
    connection_use(connection_use&& other) noexcept;
    connection_use& operator=(connection_use&& other) noexcept;
    ~connection_use();

    void end() noexcept;

private:
    std::shared_ptr<connection_socket> socket_;
    std::atomic<bool> is_on_{false};
};

/// While it lives, this thread may wait for the daemon of the connection.
class daemon_wait
{
public:
    /// @param socket may be null.
    explicit daemon_wait(std::shared_ptr<connection_socket> socket) noexcept;
    ~daemon_wait();
    daemon_wait(const daemon_wait&) = delete;
    daemon_wait& operator=(const daemon_wait&) = delete;

    /// Whether the calling thread has one.
    static bool is_here() noexcept;

private:
    const std::shared_ptr<connection_socket> socket_;
};

/// While it lives, this thread drops references to one connection and its objects. If one of them is the last
/// reference to the connection, libvirt tells the daemon, and waits for the answer.
class closing_scope : public socket_search
{
public:
    /// @param socket is assigned to the connection's socket if that is not known yet; may be null.
    /// @param before_wait is called, unless it is empty, before libvirt waits for the daemon.
    explicit closing_scope(
        std::shared_ptr<connection_socket> socket = nullptr, std::function<void()> before_wait = {}) noexcept;
    ~closing_scope() override;

private:
    void on_found() noexcept override;

    const std::function<void()> before_wait_;
    bool is_last_reference_ = false;
};

/// Drops a reference to a connection on the calling thread, which is a worker. A daemon that does not answer
/// holds it up for as long as close_deadline allows.
void close_now(virConnectPtr connection) noexcept;

} // namespace avirt::detail
