// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/job_scheduler.hpp"
#include "core/worker_job.hpp"
#include "core/worker_threads.hpp"

#include <avirt/error.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>

namespace avirt::detail {

/// The threads on which libvirt may block: one pool for the process.
///
/// The jobs of one connection share a lane, in which only so many run at a time. Lanes share nothing but the
/// limit on the number of threads. A job that ends something (finish, abort, close, release) has no lane: it
/// has priority over the others, and never waits behind calls that may be stuck.
///
/// The jobs of a thousand healthy connections share a few threads (job_scheduler). If jobs wait for these
/// threads, another thread watches until some are stuck, and gives threads to as many others.
///
/// A job that may not return for long can be abandoned: it no longer counts against its lane, and neither the
/// loop nor the end of the process waits for it. Its thread counts as one until the job returns.
///
/// The threads block all signals, and end when they have been idle for a few seconds.
///
/// A forked child has a pool of its own. The parent's jobs never complete in the child.
class worker_pool
{
public:
    using job = worker_job;
    using job_ptr = detail::job_ptr;

    static worker_pool& instance();

    /// Makes a job, which may be submitted once. Without a lane it has priority.
    job_ptr make(std::function<void()> function, std::shared_ptr<job_lane> lane = nullptr);

    /// Runs the job on a thread. The loop is not idle until the job has returned or is abandoned. Returns an
    /// error if no thread can be created for the job: a job with a lane never runs then, and one without a
    /// lane runs as soon as a thread can be created.
    error_code submit(const job_ptr& j) noexcept;

    enum class keeps_loop { no, yes };

    /// Runs the function on a thread, with priority. Allocates no memory while few such functions are
    /// pending. Returns false if there is no memory for another one.
    bool post(void (*function)(), keeps_loop keeps) noexcept;

    /// Whether a job keeps the event loop from being idle.
    bool holds_loop() const noexcept
    {
        return loop_holders_ != 0;
    }

    /// Drops the job if it has not begun. Returns false if it has.
    bool withdraw(const job_ptr& j) noexcept;

    /// The loop no longer waits for the job, which runs on and counts as abandoned until it returns.
    void detach(const job_ptr& j) noexcept;

    /// Stops waiting for the job. Returns whether it had not begun, and was dropped.
    bool abandon(const job_ptr& j) noexcept;

    /// Sets how many jobs of a lane, and how many threads, run at a time. Raising a limit starts jobs that
    /// wait for it.
    void set_limits(std::size_t jobs_of_lane, std::size_t threads) noexcept;

    struct statistics
    {
        std::size_t running = 0, queued = 0, abandoned = 0, threads = 0;
    };

    statistics stats() const noexcept;

    /// Counts as a queued job while it exists, for a call that is not a job yet because it waits for another
    /// call on its connection.
    class queue_place
    {
    public:
        queue_place() noexcept;
        ~queue_place();
        queue_place(const queue_place&) = delete;
        queue_place& operator=(const queue_place&) = delete;
    };

private:
    using lock = worker_threads::lock;

    worker_pool();

    job_ptr make_reusable();
    bool is_of_parent(const job& j) const noexcept;
    job_scheduler::priority startable() const noexcept;
    bool must_watch() const noexcept;
    error_code give_threads_locked() noexcept;
    worker* take_thread(error_code& why) noexcept;
    void retry_later() noexcept;
    void retry() noexcept;
    void hold_loop() noexcept;
    void let_loop_go() noexcept;

    // On the pool's threads.
    void work(worker_threads::iterator self) noexcept;
    void take_task(worker& self) noexcept;
    void run(lock& held, const job_ptr& j) noexcept;
    void watch(lock& held, worker& self) noexcept;

    void wait_at_exit() noexcept;

    static void after_fork_in_any_child();

    mutable std::mutex mutex_;
    std::condition_variable job_returned_;
    job_scheduler jobs_;
    worker_threads threads_;
    job_queue reusable_jobs_; // for post()
    std::atomic<std::size_t> loop_holders_{0};
    std::size_t max_threads_ = 1024;
    bool is_watched_ = false;
    bool is_retry_pending_ = false;
    bool is_exiting_ = false;
};

} // namespace avirt::detail
