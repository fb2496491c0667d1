// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace avirt::detail {

class job_lane;
class job_queue;
class job_scheduler;
class worker_pool;

using job_hook = boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

/// A function that may block, for a thread of the worker_pool. Guarded by the pool's lock.
class worker_job : public job_hook
{
public:
    /// @param lane null: the job has high priority.
    worker_job(
        std::function<void()> function, std::shared_ptr<job_lane> lane,
        const job_scheduler& scheduler) noexcept
        : function_(std::move(function)),
          lane_(std::move(lane)),
          scheduler_(&scheduler)
    {
    }

private:
    friend class job_queue;
    friend class job_scheduler;
    friend class worker_pool;

    enum class state { made, queued, running, detached, abandoned, done };

    std::function<void()> function_;
    const std::shared_ptr<job_lane> lane_;
    const job_scheduler* const scheduler_; // A forked child has another.
    job_queue* queue_ = nullptr;           // the current or last one
    std::shared_ptr<worker_job> self_{};   // while the job is in a queue
    std::chrono::steady_clock::time_point begun_at_{};
    state state_ = state::made;
    bool is_stuck_ = false;
    bool holds_loop_ = true;
    bool is_reused_ = false; // The pool keeps the job for post().
};

using job_ptr = std::shared_ptr<worker_job>;

/// Jobs in the order in which they were added. Adding needs no memory.
class job_queue
{
public:
    bool empty() const noexcept
    {
        return jobs_.empty();
    }

    std::size_t size() const noexcept
    {
        return jobs_.size();
    }

    worker_job& front() noexcept
    {
        return jobs_.front();
    }

    const worker_job& front() const noexcept
    {
        return jobs_.front();
    }

    /// Whether the job, which is in this queue, is one of the first @p count.
    bool has_among_first(std::size_t count, const worker_job& j) const noexcept
    {
        for (auto next = jobs_.begin(); next != jobs_.end() && count > 0; ++next, --count) {
            if (&*next == &j)
                return true;
        }
        return false;
    }

    void push(const job_ptr& j) noexcept
    {
        jobs_.push_back(*j);
        j->queue_ = this;
        j->self_ = j;
    }

    /// Returns the first job, or null.
    job_ptr pop() noexcept
    {
        if (jobs_.empty())
            return nullptr;
        auto j = std::move(jobs_.front().self_);
        jobs_.pop_front();
        return j;
    }

    /// Removes a job from the queue in which it is.
    static job_ptr remove(worker_job& j) noexcept
    {
        j.queue_->jobs_.erase(j.queue_->jobs_.iterator_to(j));
        return std::move(j.self_);
    }

    /// Forgets the jobs without releasing them.
    void forget() noexcept
    {
        jobs_.clear();
    }

private:
    boost::intrusive::list<worker_job> jobs_;
};

/// The jobs of one connection, of which only so many run at a time. Guarded by the worker_pool's lock.
class job_lane : public job_hook
{
    friend class job_scheduler;
    using list = boost::intrusive::list<job_lane>;

    const job_scheduler* scheduler_ = nullptr; // A forked child has another.
    list* list_ = nullptr;                     // the scheduler's list in which the lane is
    job_queue waiting_;
    std::size_t running_ = 0;
};

} // namespace avirt::detail
