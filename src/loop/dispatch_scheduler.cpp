// SPDX-License-Identifier: BSL-1.0
#include "loop/dispatch_scheduler.hpp"

#include "core/worker_pool.hpp"

#include <avirt/detail/failure.hpp>

#include <chrono>
#include <utility>

namespace avirt::detail {

dispatch_scheduler::dispatch_scheduler(event_tables& tables, void (*run_deferred)()) noexcept
    : tables_(tables),
      run_deferred_(run_deferred)
{
}

void dispatch_scheduler::bind(std::shared_ptr<loop_backend> loop)
{
    auto held = tables_.acquire();
    if (loop_)
        throw exception(error::event_loop_in_use, {});
    tables_.open_files();
    if (tables_.has_shared_files())
        replace_shared_files();
    loop_ = std::move(loop);
    carry_out(held, state_.bind());
}

void dispatch_scheduler::unbind(const loop_backend& loop) noexcept
{
    std::shared_ptr<loop_backend> last; // Destroyed after the lock is released.
    auto held = tables_.acquire();
    if (loop_.get() != &loop)
        return;
    last = std::move(loop_);
    loop_.reset();
    const auto action = state_.unbind(tables_.deferred.size() != 0);
    close_files_if_unused();
    carry_out(held, action);
}

bool dispatch_scheduler::is_bound() const noexcept
{
    const auto held = tables_.acquire();
    return is_bound(held);
}

bool dispatch_scheduler::is_idle() const noexcept
{
    const auto held = tables_.acquire();
    return is_drained() && !state_.is_dispatching();
}

bool dispatch_scheduler::is_dispatching_here() const noexcept
{
    const auto held = tables_.acquire();
    return is_dispatching_here(held);
}

void dispatch_scheduler::wake() noexcept
{
    auto held = tables_.acquire();
    wake(held);
}

void dispatch_scheduler::work_changed() noexcept
{
    auto held = tables_.acquire();
    // An idle loop keeps its context running once there is work; any other becomes idle once there is none.
    // The count changes outside the lock, so the loop may have seen the change already.
    const bool is_idle = state_.current() == dispatch_state::phase::idle;
    if (is_idle != is_drained())
        wake(held);
}

void dispatch_scheduler::restart_after_fork()
{
    auto held = tables_.acquire();
    if (!tables_.has_shared_files() || !loop_)
        return;
    replace_shared_files();
    wake(held); // Even if nothing is left: a drain may be waiting for the report.
}

void dispatch_scheduler::wake(lock& held) noexcept
{
    carry_out(held, state_.request(tables_.deferred.size() != 0));
}

void dispatch_scheduler::watch_added(lock& held) noexcept
{
    if (state_.current() == dispatch_state::phase::idle || tables_.watches.has_always_ready())
        wake(held);
    else
        held.unlock();
}

void dispatch_scheduler::watch_updated(lock& held) noexcept
{
    if (tables_.watches.has_always_ready())
        wake(held);
    else
        held.unlock();
}

void dispatch_scheduler::timeouts_changed(lock& held) noexcept
{
    if (state_.is_dispatching()) // It sees them when it ends.
        return held.unlock();
    close_files_if_unused();
    const bool is_idle = state_.current() == dispatch_state::phase::idle;
    if (is_idle || (loop_ && (tables_.timeouts.has_ready() || is_drained())))
        return wake(held);
    if (state_.is_awaiting())
        tables_.arm_timer_in_place();
    held.unlock();
}

void dispatch_scheduler::registration_removed(lock& held, bool has_deferred) noexcept
{
    close_files_if_unused();
    if (has_deferred || is_drained())
        wake(held);
    else
        held.unlock();
}

bool dispatch_scheduler::begin_dispatch(
    const lock& held, const loop_backend& loop, dispatch_state::trigger due) noexcept
{
    if (!is_bound(held, loop) || !state_.begin(due))
        return false;
    note_dispatcher();
    return true;
}

bool dispatch_scheduler::begin_unbound(const lock&) noexcept
{
    if (!state_.begin_unbound())
        return false;
    note_dispatcher();
    return true;
}

void dispatch_scheduler::end_dispatch(lock& held, bool has_more) noexcept
{
    dispatcher_ = {};
    const auto action = state_.end(remainder(has_more));
    close_files_if_unused();
    carry_out(held, action);
}

void dispatch_scheduler::note_dispatcher() noexcept
{
    dispatcher_ = last_dispatcher_ = std::this_thread::get_id();
}

/// Nothing is registered and nothing of avirt's is pending.
bool dispatch_scheduler::is_drained() const noexcept
{
    return tables_.is_empty() && tables_.deferred.size() == 0 && !worker_pool::instance().holds_loop();
}

dispatch_state::remainder dispatch_scheduler::remainder(bool has_more) noexcept
{
    using left = dispatch_state::remainder;
    if (tables_.deferred.size() != 0)
        return left::work;
    if (loop_ && (has_more || tables_.timeouts.has_ready() || tables_.watches.has_always_ready()))
        return left::work;
    return is_drained() ? left::nothing : left::registrations;
}

void dispatch_scheduler::replace_shared_files()
{
    tables_.replace_shared_files();
    const bool has_dispatcher = dispatcher_ == std::this_thread::get_id();
    if (!has_dispatcher)
        dispatcher_ = {};
    state_.fork(has_dispatcher);
}

void dispatch_scheduler::close_files_if_unused() noexcept
{
    if (!loop_ && !state_.is_dispatching() && tables_.is_empty())
        tables_.close_files();
}

void dispatch_scheduler::carry_out(lock& held, dispatch_state::action action) noexcept
{
    using todo = dispatch_state::action;
    using trigger = dispatch_state::trigger;
    switch (action) {
    case todo::none:
        return held.unlock();
    case todo::post: {
        const auto loop = loop_;
        held.unlock();
        if (!loop->post_dispatch())
            retry_later(trigger::post);
        return;
    }
    case todo::signal: {
        const auto event = tables_.wake_event_to_signal();
        held.unlock();
        if (event)
            event->signal();
        return;
    }
    case todo::run_deferred:
        held.unlock();
        worker_pool::instance().post(run_deferred_, worker_pool::keeps_loop::no);
        return;
    case todo::await: {
        tables_.timeouts.arm();
        tables_.timeouts.disarm_if_unused();
        const int set = tables_.watches.epoll_fd();
        const auto loop = loop_;
        held.unlock();
        if (!loop->await_set(set))
            retry_later(trigger::readiness);
        return;
    }
    case todo::report_idle: {
        const auto loop = loop_;
        held.unlock();
        return loop->idle();
    }
    }
}

/// There was no memory to schedule a dispatch.
void dispatch_scheduler::retry_later(dispatch_state::trigger failed) noexcept
{
    {
        const auto held = tables_.acquire();
        if (!state_.fail(failed))
            return;
    }
    worker_pool::instance().post(
        [] {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            instance().wake();
        },
        worker_pool::keeps_loop::no);
}

} // namespace avirt::detail
