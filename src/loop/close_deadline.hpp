// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/dispatch_scheduler.hpp"
#include "loop/event_tables.hpp"

#include <chrono>
#include <memory>

namespace avirt::detail {

/// Limits how long the end of a connection waits for a silent daemon. What is still under way on a connection
/// that is not in use has a second; then the connection is interrupted, so that a daemon that does not answer
/// keeps nothing alive. The time starts anew whenever something begins or ends: a daemon that answers is not
/// interrupted for having a lot to answer.
///
/// Thread safety: all functions but update() may be called from any thread, without the lock of the tables.
class close_deadline
{
public:
    static constexpr std::chrono::milliseconds time_limit{1000};

    close_deadline(event_tables& tables, dispatch_scheduler& scheduler) noexcept;

    /// The deadlines of this process.
    static close_deadline& instance();

    // See connection_use, daemon_wait and closing_scope.
    void begin_use(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_use(const std::shared_ptr<connection_socket>& socket) noexcept;
    void begin_wait(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_wait(const std::shared_ptr<connection_socket>& socket) noexcept;
    void begin_closing(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_closing(const std::shared_ptr<connection_socket>& socket) noexcept;

    /// The application may hold a reference to the connection from now on: only its closing is limited.
    void share(const std::shared_ptr<connection_socket>& socket) noexcept;

    /// Starts or ends the deadline after a change of the socket. Call with the lock held.
    void update(const std::shared_ptr<connection_socket>& socket) noexcept;

private:
    using counter = unsigned connection_socket::*;

    void add(const std::shared_ptr<connection_socket>& socket, counter count, int difference) noexcept;
    void update(event_tables::lock& held, const std::shared_ptr<connection_socket>& socket) noexcept;
    void expired(int timer) noexcept;

    event_tables& tables_;
    dispatch_scheduler& scheduler_;
};

} // namespace avirt::detail
