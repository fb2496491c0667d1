// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/dispatch_fairness.hpp"
#include "loop/dispatch_scheduler.hpp"
#include "loop/event_tables.hpp"
#include "loop/loop_backend.hpp"
#include "loop/socket_monitor.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace avirt::detail {

/// Calls the callbacks of the watches that are ready and of the timeouts that are due, and the deferred
/// functions, and reports slow callbacks.
class dispatcher
{
public:
    using lock = event_tables::lock;

    dispatcher(event_tables& tables, dispatch_scheduler& scheduler, socket_monitor& sockets) noexcept;

    /// The dispatcher of this process.
    static dispatcher& instance();

    /// Serves what is ready, for a limited number of rounds. @p due says how the call was scheduled; a call
    /// that was overtaken by others does nothing.
    void dispatch(loop_backend& loop, dispatch_state::trigger due);
    /// Calls the deferred functions if no loop is bound.
    void run_deferred_unbound();

    // These are called with the lock held.

    /// Whether the calling thread is inside the callback of the timer.
    bool is_calling_timer(const lock& held, int timer) const noexcept;
    /// Whether the calling thread is inside the callback of the keepalive timer of the socket.
    bool is_calling_keepalive_of(const lock& held, const connection_socket* socket) const noexcept;

    /// Number of callbacks called so far.
    std::uint64_t dispatched(const lock&) const noexcept
    {
        return dispatched_;
    }

    std::chrono::nanoseconds longest_callback(const lock&) const noexcept
    {
        return longest_callback_;
    }

private:
    using clock = std::chrono::steady_clock;
    struct scope;

    bool serve_watches(lock& held, loop_backend& loop);
    void collect_ready_watches(lock& held);
    void rebuild_set(lock& held, loop_backend& loop);
    void serve_watch(lock& held, loop_backend& loop, watch_table::ready record);
    void call(lock& held, loop_backend& loop, const watch_table::watch& w, int events);

    bool serve_timeouts(lock& held, loop_backend& loop);
    void serve_timeout(lock& held, loop_backend& loop, const timeout_table::timeout& t);
    void serve_keepalive(lock& held, loop_backend& loop, const timeout_table::timeout& t);
    void call(lock& held, loop_backend& loop, const timeout_table::timeout& t);

    bool run_deferred(lock& held);
    void notify(lock& held, const connection_socket& socket, void (socket_observer::*event)());
    void forget_called_timer() noexcept;

    template <class Callback>
    void call_out(
        lock& held, loop_backend& loop, int id, int fd, std::shared_ptr<connection_socket> owner,
        Callback callback);

    event_tables& tables_;
    dispatch_scheduler& scheduler_;
    socket_monitor& sockets_;

    // Of the thread that dispatches.
    dispatch_fairness fairness_;
    clock::time_point now_{}; // when the latest callback returned
    std::array<epoll_event, 64> events_{};
    std::vector<watch_table::ready> ready_watches_;
    std::vector<timeout_table::ready> ready_timeouts_;

    // Guarded by the lock.
    int called_timer_ = 0;                                   // 0: none
    const connection_socket* called_keepalive_of_ = nullptr; // if it is a keepalive timer
    std::uint64_t dispatched_ = 0;
    std::chrono::nanoseconds longest_callback_{0};
};

} // namespace avirt::detail
