// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/worker_job.hpp"

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstddef>

namespace avirt::detail {

/// Decides which job the next thread of the worker_pool runs, and counts the jobs. Guarded by the pool's
/// lock.
///
/// A job without a lane is urgent. The lanes take turns; every second turn goes to a lane of which no job is
/// running, so that no connection holds up another by the number of its jobs. In each lane only so many jobs
/// run at a time.
///
/// Healthy jobs share a few threads, those with a lane and those without separately. Jobs that run for long
/// are taken to be stuck, and make room for others.
class job_scheduler
{
public:
    using time_point = std::chrono::steady_clock::time_point;
    enum class priority { high, any };

    /// The number of jobs that run at a time while none is stuck.
    static constexpr std::size_t healthy_jobs_with_lane = 40;
    static constexpr std::size_t healthy_urgent_jobs = 20;

    /// A job that runs longer is taken to be stuck.
    static constexpr std::chrono::milliseconds longest_healthy_job{100};

    /// Adds a job that has been made for this scheduler.
    void add(const job_ptr& j) noexcept;

    /// Takes back a job that no thread has taken. Returns false if one has.
    bool take_back(const job_ptr& j) noexcept;

    /// Whether a thread could run a job of the priority now.
    bool has_ready(priority lowest) const noexcept;

    /// Whether a job waits only until another one returns or turns out to be stuck.
    bool needs_watcher() const noexcept;

    /// Whether this job needs nothing but a thread.
    bool is_ready(const worker_job& j) const noexcept;

    /// Returns the next ready job of the priority, which is running from now on; null if there is none.
    job_ptr take_next(priority lowest, time_point now) noexcept;

    /// Counts a running job as abandoned, because no operation waits for it any more. It keeps its place in
    /// its lane. Returns false if the job is not running.
    bool detach(worker_job& j) noexcept;

    /// Counts a running or detached job as abandoned and as stuck, and no longer against its lane. Returns
    /// false if the job is neither.
    bool abandon(worker_job& j) noexcept;

    /// The job has returned. Returns false if it had been detached or abandoned.
    bool finish(worker_job& j) noexcept;

    /// When mark_stuck() is to be called, if jobs are running that are not stuck.
    time_point next_stuck_at() const noexcept;

    /// Finds the jobs that have been running for too long.
    void mark_stuck(time_point now) noexcept;

    /// Sets how many jobs of a lane run at a time.
    void set_lane_limit(std::size_t limit) noexcept;

    /// From now on, urgent jobs run however many there are.
    void lift_limits() noexcept
    {
        urgent_.most = ~std::size_t{0};
    }

    bool is_high_priority_done() const noexcept
    {
        return high_priority_.empty() && high_priority_running_ == 0;
    }

    std::size_t running() const noexcept
    {
        return running_;
    }

    std::size_t queued() const noexcept
    {
        return queued_;
    }

    std::size_t abandoned() const noexcept
    {
        return abandoned_;
    }

private:
    /// The running jobs that share threads.
    struct group
    {
        std::size_t most;   // how many run at a time, those that are stuck not counted
        job_queue recent{}; // those that are not stuck, the oldest first
        std::size_t stuck = 0;

        /// While jobs are stuck, as many others are allowed in addition: the number of threads doubles each
        /// time, until there is one for every job.
        bool has_room() const noexcept
        {
            return recent.size() < most || recent.size() - most < stuck;
        }
    };

    group& group_of(const worker_job& j) noexcept
    {
        return j.lane_ ? with_lane_ : urgent_;
    }

    bool has_waiting_lane() const noexcept
    {
        return !unserved_.empty() || !served_.empty();
    }

    job_ptr take_from_lane() noexcept;
    void adopt_lane(job_lane& lane) const noexcept;
    void leave_lane(worker_job& j) noexcept;
    void place(job_lane& lane) noexcept;
    void set_stuck(worker_job& j) noexcept;

    job_queue high_priority_; // the jobs without a lane

    // The lanes that have waiting jobs, by the number of those that are running.
    job_lane::list unserved_; // none
    job_lane::list served_;   // fewer than the limit
    job_lane::list full_;
    bool is_turn_of_served_ = false;

    group with_lane_{healthy_jobs_with_lane};
    group urgent_{healthy_urgent_jobs};
    std::size_t lane_limit_ = 16;
    std::size_t queued_ = 0;
    std::size_t running_ = 0;
    std::size_t high_priority_running_ = 0; // including abandoned jobs
    std::size_t abandoned_ = 0;
};

} // namespace avirt::detail
