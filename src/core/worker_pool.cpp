// SPDX-License-Identifier: BSL-1.0
#include "core/worker_pool.hpp"

#include "core/fork_gate.hpp"
#include "core/loop_interface.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <new>
#include <utility>

namespace avirt::detail {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// How long the end of the process waits for the jobs that end something.
constexpr auto time_limit_at_exit = 5s;
/// The time between two attempts to create a thread.
constexpr auto retry_interval = 50ms;
/// The number of jobs that post() can use if there is no memory left.
constexpr int reusable_jobs = 16;

std::atomic<worker_pool*> current{nullptr};

std::atomic<std::size_t> queue_places{0};

} // namespace

worker_pool::worker_pool()
{
    for (int i = 0; i < reusable_jobs; ++i)
        reusable_jobs_.push(make_reusable());
}

worker_pool& worker_pool::instance()
{
    // Never destroyed: handles and connections with static storage may end later.
    static const int once = [] {
        current.store(new worker_pool, std::memory_order_release);
        ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
        return std::atexit([] { instance().wait_at_exit(); });
    }();
    (void)once;
    return *current.load(std::memory_order_acquire);
}

// The child does not have the parent's threads, one of which may have held the lock.
void worker_pool::after_fork_in_any_child()
{
    current.store(new worker_pool, std::memory_order_release);
}

bool worker_pool::is_of_parent(const job& j) const noexcept
{
    return j.scheduler_ != &jobs_;
}

worker_pool::job_ptr worker_pool::make(std::function<void()> function, std::shared_ptr<job_lane> lane)
{
    return std::make_shared<job>(std::move(function), std::move(lane), jobs_);
}

worker_pool::job_ptr worker_pool::make_reusable()
{
    auto j = make(nullptr);
    j->is_reused_ = true;
    return j;
}

error_code worker_pool::submit(const job_ptr& j) noexcept
{
    if (j->holds_loop_)
        hold_loop();
    error_code no_thread;
    bool lacks_thread = false;
    bool is_dropped = false;
    {
        const lock held(mutex_);
        jobs_.add(j);
        no_thread = give_threads_locked();
        lacks_thread = no_thread && jobs_.is_ready(*j);
        is_dropped = lacks_thread && j->lane_ && jobs_.take_back(j);
    }
    if (is_dropped && j->holds_loop_)
        let_loop_go();
    if (no_thread && !is_dropped)
        retry_later();
    return lacks_thread ? no_thread : error_code();
}

bool worker_pool::post(void (*function)(), keeps_loop keeps) noexcept
{
    job_ptr j;
    {
        const lock held(mutex_);
        j = reusable_jobs_.pop();
    }
    try {
        if (!j)
            j = make_reusable();
    }
    catch (const std::bad_alloc&) {
        return false;
    }
    j->function_ = function;
    j->holds_loop_ = keeps == keeps_loop::yes;
    submit(j);
    return true;
}

bool worker_pool::withdraw(const job_ptr& j) noexcept
{
    if (is_of_parent(*j))
        return true;
    std::function<void()> dropped; // Destroyed outside the lock, with all that it holds.
    error_code no_thread;
    {
        const lock held(mutex_);
        if (!jobs_.take_back(j))
            return false;
        dropped.swap(j->function_);
        no_thread = give_threads_locked();
    }
    dropped = nullptr;
    if (j->holds_loop_)
        let_loop_go();
    if (no_thread)
        retry_later();
    return true;
}

void worker_pool::detach(const job_ptr& j) noexcept
{
    if (is_of_parent(*j))
        return;
    {
        const lock held(mutex_);
        if (!jobs_.detach(*j) || !std::exchange(j->holds_loop_, false))
            return;
    }
    let_loop_go();
}

bool worker_pool::abandon(const job_ptr& j) noexcept
{
    if (withdraw(j))
        return true;
    error_code no_thread;
    {
        const lock held(mutex_);
        if (!jobs_.abandon(*j))
            return false;
        no_thread = give_threads_locked();
    }
    if (j->holds_loop_)
        let_loop_go();
    if (no_thread)
        retry_later();
    return false;
}

void worker_pool::set_limits(std::size_t jobs_of_lane, std::size_t threads) noexcept
{
    error_code no_thread;
    {
        const lock held(mutex_);
        max_threads_ = std::max<std::size_t>(threads, 1);
        jobs_.set_lane_limit(std::max<std::size_t>(jobs_of_lane, 1));
        no_thread = give_threads_locked();
    }
    if (no_thread)
        retry_later();
}

worker_pool::statistics worker_pool::stats() const noexcept
{
    const lock held(mutex_);
    return {jobs_.running(), jobs_.queued() + queue_places, jobs_.abandoned(), threads_.size()};
}

worker_pool::queue_place::queue_place() noexcept
{
    ++queue_places;
}

worker_pool::queue_place::~queue_place()
{
    --queue_places;
}

/// The priority of the jobs that may still be started: at the end of the process, only of those that end
/// something.
job_scheduler::priority worker_pool::startable() const noexcept
{
    return is_exiting_ ? job_scheduler::priority::high : job_scheduler::priority::any;
}

/// Gives a thread to each ready job, up to the limits. Returns an error if a thread could not be created.
error_code worker_pool::give_threads_locked() noexcept
{
    error_code no_thread;
    while (is_exiting_ || threads_.busy() < max_threads_) {
        const bool has_job = jobs_.has_ready(startable());
        if (!has_job && !must_watch())
            break;
        auto* const thread = take_thread(no_thread);
        if (!thread)
            break;
        if (has_job)
            thread->next = jobs_.take_next(startable(), clock::now());
        else
            is_watched_ = thread->watches = true;
    }
    return no_thread;
}

/// Whether a thread has to watch for stuck jobs, and none does.
bool worker_pool::must_watch() const noexcept
{
    return !is_exiting_ && !is_watched_ && jobs_.needs_watcher();
}

/// Returns a thread that is to get a task. Returns null, and why, if there is none.
worker* worker_pool::take_thread(error_code& why) noexcept
{
    if (!is_exiting_) {
        if (auto* const idle = threads_.take_idle())
            return idle;
    }
    auto* const thread = threads_.start([this](worker_threads::iterator self) { work(self); }, why);
    if (thread && is_exiting_) // wait_at_exit() may already have gone through the threads.
        thread->thread.detach();
    return thread;
}

/// Tries again later to create threads. If no thread exists, nothing else would start the jobs.
void worker_pool::retry_later() noexcept
{
    {
        const lock held(mutex_);
        if (std::exchange(is_retry_pending_, true))
            return;
    }
    if (!loop_interface::instance().call_after(retry_interval, [] { instance().retry(); })) {
        const lock held(mutex_);
        is_retry_pending_ = false;
    }
}

void worker_pool::retry() noexcept
{
    error_code no_thread;
    {
        const lock held(mutex_);
        is_retry_pending_ = false;
        no_thread = give_threads_locked();
    }
    if (no_thread)
        retry_later();
}

void worker_pool::hold_loop() noexcept
{
    ++loop_holders_;
    loop_interface::instance().work_changed();
}

void worker_pool::let_loop_go() noexcept
{
    --loop_holders_;
    loop_interface::instance().work_changed();
}

void worker_pool::work(worker_threads::iterator self) noexcept
{
    lock held(mutex_);
    while (self->has_task()) {
        if (self->watches)
            watch(held, *self);
        if (const auto j = std::exchange(self->next, nullptr))
            run(held, j);
        take_task(*self);
        if (!self->has_task() && !is_exiting_)
            threads_.rest(held, self, is_exiting_);
    }
    if (!is_exiting_) // Otherwise wait_at_exit() is going through the threads.
        threads_.remove(self);
}

/// Gives the calling thread its next task, if there is one.
void worker_pool::take_task(worker& self) noexcept
{
    self.next = jobs_.take_next(startable(), clock::now());
    if (!self.next && must_watch())
        is_watched_ = self.watches = true;
}

/// Finds stuck jobs and starts others in their place, until none waits for that.
void worker_pool::watch(lock& held, worker& self) noexcept
{
    while (!is_exiting_ && jobs_.needs_watcher()) {
        self.wake.wait_until(held, jobs_.next_stuck_at());
        jobs_.mark_stuck(clock::now());
        if (give_threads_locked()) {
            held.unlock();
            retry_later();
            held.lock();
        }
    }
    is_watched_ = self.watches = false;
}

void worker_pool::run(lock& held, const job_ptr& j) noexcept
{
    held.unlock();
    j->function_();
    {
        const fork_pass pass;
        j->function_ = nullptr; // Everything that it holds is destroyed before the loop may be idle.
    }
    held.lock();
    const bool was_waited_for = jobs_.finish(*j);
    if (was_waited_for && j->holds_loop_) {
        held.unlock();
        let_loop_go();
        held.lock();
    }
    if (j->is_reused_)
        reusable_jobs_.push(j);
    job_returned_.notify_all();
}

/// At the end of the process, waits for the jobs that end something, so that a daemon is told that its
/// clients leave. Other jobs may never return, so they are not waited for.
void worker_pool::wait_at_exit() noexcept
{
    lock held(mutex_);
    is_exiting_ = true;
    jobs_.lift_limits();
    give_threads_locked();
    threads_.wake_idle();
    job_returned_.wait_for(held, time_limit_at_exit, [&] { return jobs_.is_high_priority_done(); });
    threads_.detach_busy();
    threads_.join_idle(held);
}

} // namespace avirt::detail
