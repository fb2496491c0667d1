// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

namespace avirt::detail {

/// A connection is in use while one of these lives: it is open, it has a stream, or an operation waits for
/// its end. What is still under way on a connection that is not in use has a second; then the connection is
/// interrupted, so that a daemon that does not answer keeps nothing alive. May be ended from any thread.
class connection_use
{
public:
    connection_use() = default;
    explicit connection_use(std::shared_ptr<connection_socket> socket) noexcept;
    connection_use(connection_use&& other) noexcept;
    connection_use& operator=(connection_use&& other) noexcept;
    ~connection_use();

    void end() noexcept;

private:
    std::shared_ptr<connection_socket> socket_;
    std::atomic<bool> is_on_{false};
};

/// While it lives, this thread may wait for the daemon of that connection.
class daemon_wait
{
public:
    /// @param link may be null.
    explicit daemon_wait(std::shared_ptr<connection_socket> socket) noexcept;
    ~daemon_wait();
    daemon_wait(const daemon_wait&) = delete;
    daemon_wait& operator=(const daemon_wait&) = delete;

    /// Whether this thread has one.
    static bool is_here() noexcept;

private:
    const std::shared_ptr<connection_socket> socket_;
};

/// While it lives, this thread drops references, of which one may be the last to a connection: libvirt then
/// tells the daemon, and waits for the answer. Each drops what belongs to one connection.
class closing_scope : public socket_search
{
public:
    /// @param link becomes known as the connection's; may be null.
    /// @param before_wait is called, if it is not empty, before libvirt waits for the daemon.
    explicit closing_scope(
        std::shared_ptr<connection_socket> socket = nullptr, std::function<void()> before_wait = {}) noexcept;
    ~closing_scope() override;

private:
    void on_found() noexcept override;

    const std::function<void()> before_wait_;
    bool is_last_ = false;
};

/// Drops a reference to a connection on the calling thread, which is a worker. A daemon that does not answer
/// holds it up for a second.
void close_now(virConnectPtr connection) noexcept;

/// Calls a function on the loop when the time is over, unless it is destroyed first; the call may then be
/// under way.
class deadline
{
public:
    /// @param after zero: never.
    deadline(std::chrono::milliseconds after, std::function<void()> function);
    ~deadline();
    deadline(const deadline&) = delete;
    deadline& operator=(const deadline&) = delete;

private:
    int timer_ = -1;
};

} // namespace avirt::detail
