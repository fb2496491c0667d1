// SPDX-License-Identifier: BSL-1.0
#include "core/job_scheduler.hpp"

#include <utility>

namespace avirt::detail {

void job_scheduler::add(const job_ptr& j) noexcept
{
    j->state_ = worker_job::state::queued;
    ++queued_;
    auto* lane = j->lane_.get();
    if (!lane)
        return high_priority_.push(j);
    adopt_lane(*lane);
    if (lane->running_ < lane_limit_) {
        ++lane->running_;
        return ready_.push(j);
    }
    if (lane->waiting_.empty())
        full_lanes_.push_back(*lane);
    lane->waiting_.push(j);
}

/// In a forked child, forgets the jobs that the lane had in the parent.
void job_scheduler::adopt_lane(job_lane& lane) const noexcept
{
    if (std::exchange(lane.scheduler_, this) == this)
        return;
    lane.waiting_.forget();
    lane.running_ = 0;
}

bool job_scheduler::take_back(const job_ptr& j) noexcept
{
    if (j->state_ != worker_job::state::queued)
        return false;
    job_queue::remove(*j);
    j->state_ = worker_job::state::made;
    --queued_;
    auto* lane = j->lane_.get();
    if (lane && j->queue_ != &lane->waiting_)
        leave_lane(*j);
    else if (lane && lane->waiting_.empty())
        full_lanes_.erase(full_lanes_.iterator_to(*lane));
    return true;
}

bool job_scheduler::has_ready(priority lowest) const noexcept
{
    return !high_priority_.empty() || (lowest == priority::any && !ready_.empty());
}

bool job_scheduler::is_ready(const worker_job& j) const noexcept
{
    return j.state_ == worker_job::state::queued && (j.queue_ == &high_priority_ || j.queue_ == &ready_);
}

job_ptr job_scheduler::take_next(priority lowest) noexcept
{
    auto j = high_priority_.pop();
    if (!j && lowest == priority::any)
        j = ready_.pop();
    if (!j)
        return nullptr;
    --queued_;
    ++running_;
    high_priority_running_ += j->lane_ ? 0u : 1u;
    j->state_ = worker_job::state::running;
    return j;
}

bool job_scheduler::abandon(worker_job& j) noexcept
{
    if (j.state_ != worker_job::state::running)
        return false;
    j.state_ = worker_job::state::abandoned;
    --running_;
    ++abandoned_;
    leave_lane(j);
    return true;
}

bool job_scheduler::finish(worker_job& j) noexcept
{
    high_priority_running_ -= j.lane_ ? 0u : 1u;
    if (std::exchange(j.state_, worker_job::state::done) == worker_job::state::abandoned) {
        --abandoned_;
        return false;
    }
    --running_;
    leave_lane(j);
    return true;
}

void job_scheduler::set_lane_limit(std::size_t limit) noexcept
{
    lane_limit_ = limit;
    for (auto lane = full_lanes_.begin(); lane != full_lanes_.end();)
        make_waiting_ready(*lane++);
}

void job_scheduler::leave_lane(worker_job& j) noexcept
{
    if (!j.lane_)
        return;
    --j.lane_->running_;
    make_waiting_ready(*j.lane_);
}

void job_scheduler::make_waiting_ready(job_lane& lane) noexcept
{
    if (lane.waiting_.empty())
        return;
    while (lane.running_ < lane_limit_ && !lane.waiting_.empty()) {
        ++lane.running_;
        ready_.push(lane.waiting_.pop());
    }
    if (lane.waiting_.empty())
        full_lanes_.erase(full_lanes_.iterator_to(lane));
}

} // namespace avirt::detail
