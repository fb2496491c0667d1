// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/job_patience.hpp"
#include "core/worker_job.hpp"

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstddef>

namespace avirt::detail {

/// Decides which job the next thread of the worker_pool runs, and counts the jobs. Guarded by the pool's
/// lock.
///
/// A job without a lane has priority over all others. The lanes take turns, those of which no job is running
/// first, so that no connection holds up another by the number of its jobs. In each lane only so many jobs
/// run at a time.
///
/// Healthy jobs share a few threads: those that run longer than usual are taken to be stuck, and make room
/// for others.
class job_scheduler
{
public:
    using time_point = std::chrono::steady_clock::time_point;
    enum class priority { high, any };

    /// The number of jobs that run at a time while none is stuck.
    static constexpr std::size_t threads_of_healthy_jobs = 40;

    /// Adds a job that has been made for this scheduler.
    void add(const job_ptr& j) noexcept;

    /// Takes back a job that no thread has taken. Returns false if one has.
    bool take_back(const job_ptr& j) noexcept;

    /// Whether a job of the priority needs nothing but a thread.
    bool has_ready(priority lowest) const noexcept;

    /// Whether this job needs nothing but a thread.
    bool is_ready(const worker_job& j) const noexcept;

    /// Returns the next ready job of the priority, which is running from now on; null if there is none.
    job_ptr take_next(priority lowest, time_point now) noexcept;

    /// Counts a running job as abandoned, because nobody waits for it any more. It keeps its place in its
    /// lane. Returns false if the job is not running.
    bool detach(worker_job& j) noexcept;

    /// Counts a running or detached job as abandoned and as stuck, and no longer against its lane. Returns
    /// false if the job is neither.
    bool abandon(worker_job& j) noexcept;

    /// The job has returned. Returns false if it had been detached or abandoned.
    bool finish(worker_job& j, time_point now) noexcept;

    /// Whether another job may run before one returns or turns out to be stuck. While jobs are stuck, their
    /// number is allowed in addition: it doubles until there is a thread for every job.
    bool has_room() const noexcept
    {
        return recent_.size() < threads_of_healthy_jobs + stuck_;
    }

    /// When mark_stuck() is to be called, if jobs are running that are not stuck.
    time_point next_stuck_at() const noexcept;

    /// Finds the jobs that have been running for too long.
    void mark_stuck(time_point now) noexcept;

    /// Sets how many jobs of a lane run at a time.
    void set_lane_limit(std::size_t limit) noexcept;

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
    void adopt_lane(job_lane& lane) const noexcept;
    void leave_lane(worker_job& j) noexcept;
    void place(job_lane& lane) noexcept;
    void set_stuck(worker_job& j) noexcept;

    job_queue high_priority_; // the jobs without a lane

    // The lanes that have waiting jobs, by the number of those that are running.
    job_lane::list unserved_; // none
    job_lane::list served_;   // fewer than the limit
    job_lane::list full_;

    job_queue recent_; // the running jobs that are not stuck, the oldest first
    job_patience patience_;
    std::size_t stuck_ = 0;
    std::size_t lane_limit_ = 16;
    std::size_t queued_ = 0;
    std::size_t running_ = 0;
    std::size_t high_priority_running_ = 0; // including abandoned jobs
    std::size_t abandoned_ = 0;
};

} // namespace avirt::detail
