// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/dispatch_state.hpp"
#include "loop/event_tables.hpp"
#include "loop/loop_backend.hpp"

#include <memory>
#include <thread>

namespace avirt::detail {

/// Makes dispatches take place on the loop that is bound, and wakes it. One thread at a time dispatches: one
/// of the loop's context, or one of the worker pool that runs deferred calls while no loop is bound.
class dispatch_scheduler
{
public:
    using lock = event_tables::lock;

    /// @param run_deferred is called on a worker thread if there are deferred calls while no loop is bound.
    dispatch_scheduler(event_tables& tables, void (*run_deferred)()) noexcept;

    /// The scheduler of this process.
    static dispatch_scheduler& instance();

    /// Binds a loop, and posts its first dispatch; throws error::event_loop_in_use, system_error.
    void bind(std::shared_ptr<loop_backend> loop);
    void unbind(const loop_backend& loop) noexcept;
    bool is_bound() const noexcept;

    /// Whether nothing is left and no dispatch runs.
    bool is_idle() const noexcept;
    /// Whether the calling thread is inside a dispatch.
    bool is_dispatching_here() const noexcept;

    /// Makes a dispatch take place, even if nothing has happened.
    void wake() noexcept;
    /// worker_pool::holds_loop() may have changed.
    void work_changed() noexcept;

    /// In a forked child: replaces the files that are shared with the parent, and dispatches.
    void restart_after_fork();

    // What has changed in the tables. These wake the loop if necessary, and release the lock first: the woken
    // thread would otherwise wait for it.

    void wake(lock& held) noexcept;
    void watch_added(lock& held) noexcept;
    void watch_updated(lock& held) noexcept;
    /// Timeouts were added, updated or removed.
    void timeouts_changed(lock& held) noexcept;
    /// @param has_deferred Whether a call was deferred by it.
    void registration_removed(lock& held, bool has_deferred) noexcept;

    // For the thread that dispatches.

    /// Returns whether the dispatch may run. @p due says how it was scheduled.
    bool begin_dispatch(const lock& held, const loop_backend& loop, dispatch_state::trigger due) noexcept;
    /// The same without a loop.
    bool begin_unbound(const lock& held) noexcept;
    /// Releases the lock. @p has_more: the dispatch was ended by its limits, or by an exception.
    void end_dispatch(lock& held, bool has_more) noexcept;

    bool is_bound(const lock&) const noexcept
    {
        return loop_ != nullptr;
    }

    bool is_bound(const lock&, const loop_backend& loop) const noexcept
    {
        return loop_.get() == &loop;
    }

    bool is_dispatching_here(const lock&) const noexcept
    {
        return dispatcher_ == std::this_thread::get_id();
    }

    /// Whether the latest dispatch was on the calling thread.
    bool has_dispatched_here(const lock&) const noexcept
    {
        return last_dispatcher_ == std::this_thread::get_id();
    }

private:
    bool is_drained() const noexcept;
    dispatch_state::remainder remainder(bool has_more) noexcept;
    void replace_shared_files();
    void close_files_if_unused() noexcept;
    void note_dispatcher() noexcept;
    void carry_out(lock& held, dispatch_state::action action) noexcept;
    void retry_later(dispatch_state::trigger failed) noexcept;

    event_tables& tables_;
    void (*const run_deferred_)();
    std::shared_ptr<loop_backend> loop_;
    dispatch_state state_;
    std::thread::id dispatcher_;
    std::thread::id last_dispatcher_;
};

} // namespace avirt::detail
