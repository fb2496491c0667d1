// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/worker_job.hpp"

#include <boost/intrusive/list.hpp>

#include <cstddef>

namespace avirt::detail {

/// Decides which job the next thread of the worker_pool runs, and counts the jobs. Guarded by the pool's
/// lock.
///
/// A job with a lane becomes ready when fewer jobs of its lane are running than the limit allows. A job
/// without a lane is always ready, and has priority over all others.
class job_scheduler
{
public:
    enum class priority { high, any };

    /// Adds a job that has been made for this scheduler.
    void add(const job_ptr& j) noexcept;

    /// Takes back a job that no thread has taken. Returns false if one has.
    bool take_back(const job_ptr& j) noexcept;

    /// Whether a job of the priority needs nothing but a thread.
    bool has_ready(priority lowest) const noexcept;

    /// Whether this job needs nothing but a thread.
    bool is_ready(const worker_job& j) const noexcept;

    /// Returns the next ready job of the priority, which is running from now on; null if there is none.
    job_ptr take_next(priority lowest) noexcept;

    /// Stops counting a running job against its lane. Returns false if the job is not running.
    bool abandon(worker_job& j) noexcept;

    /// The job has returned. Returns false if it had been abandoned.
    bool finish(worker_job& j) noexcept;

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
    void make_waiting_ready(job_lane& lane) noexcept;

    job_queue high_priority_; // the jobs without a lane
    job_queue ready_;
    boost::intrusive::list<job_lane> full_lanes_; // the lanes that have waiting jobs
    std::size_t lane_limit_ = 16;
    std::size_t queued_ = 0;
    std::size_t running_ = 0;
    std::size_t high_priority_running_ = 0; // including abandoned jobs
    std::size_t abandoned_ = 0;
};

} // namespace avirt::detail
