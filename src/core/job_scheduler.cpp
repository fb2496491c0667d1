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
    lane->waiting_.push(j);
    place(*lane);
}

/// In a forked child, forgets the jobs that the lane had in the parent.
void job_scheduler::adopt_lane(job_lane& lane) const noexcept
{
    if (std::exchange(lane.scheduler_, this) == this)
        return;
    lane.list_ = nullptr;
    lane.waiting_.forget();
    lane.running_ = 0;
}

/// Puts the lane at the end of the list where it belongs, if it is not there.
void job_scheduler::place(job_lane& lane) noexcept
{
    auto* const list = lane.waiting_.empty() ? nullptr
        : lane.running_ == 0                 ? &unserved_
        : lane.running_ < lane_limit_        ? &served_
                                             : &full_;
    if (lane.list_ == list)
        return;
    if (lane.list_)
        lane.list_->erase(lane.list_->iterator_to(lane));
    if (list)
        list->push_back(lane);
    lane.list_ = list;
}

bool job_scheduler::take_back(const job_ptr& j) noexcept
{
    if (j->state_ != worker_job::state::queued)
        return false;
    job_queue::remove(*j);
    j->state_ = worker_job::state::made;
    --queued_;
    if (j->lane_)
        place(*j->lane_);
    return true;
}

bool job_scheduler::has_ready(priority lowest) const noexcept
{
    return !high_priority_.empty() || (lowest == priority::any && !(unserved_.empty() && served_.empty()));
}

bool job_scheduler::is_ready(const worker_job& j) const noexcept
{
    if (j.state_ != worker_job::state::queued)
        return false;
    const auto* lane = j.lane_.get();
    return !lane
        || (lane->running_ < lane_limit_ && lane->waiting_.has_among_first(lane_limit_ - lane->running_, j));
}

job_ptr job_scheduler::take_next(priority lowest, time_point now) noexcept
{
    if (!has_ready(lowest))
        return nullptr;
    auto j = high_priority_.pop();
    if (!j) {
        auto& list = unserved_.empty() ? served_ : unserved_;
        auto& lane = list.front();
        list.pop_front();
        lane.list_ = nullptr;
        ++lane.running_;
        j = lane.waiting_.pop();
        place(lane);
    }
    --queued_;
    ++running_;
    high_priority_running_ += j->lane_ ? 0u : 1u;
    j->state_ = worker_job::state::running;
    j->begun_at_ = now;
    recent_.push(j);
    return j;
}

bool job_scheduler::detach(worker_job& j) noexcept
{
    if (j.state_ != worker_job::state::running)
        return false;
    j.state_ = worker_job::state::detached;
    --running_;
    ++abandoned_;
    return true;
}

bool job_scheduler::abandon(worker_job& j) noexcept
{
    if (!detach(j) && j.state_ != worker_job::state::detached)
        return false;
    j.state_ = worker_job::state::abandoned;
    if (!j.is_stuck_)
        set_stuck(j);
    leave_lane(j);
    return true;
}

bool job_scheduler::finish(worker_job& j, time_point now) noexcept
{
    patience_.job_took(now - j.begun_at_);
    if (std::exchange(j.is_stuck_, false))
        --stuck_;
    else
        job_queue::remove(j);
    high_priority_running_ -= j.lane_ ? 0u : 1u;
    const auto before = std::exchange(j.state_, worker_job::state::done);
    --(before == worker_job::state::running ? running_ : abandoned_);
    if (before != worker_job::state::abandoned)
        leave_lane(j);
    return before == worker_job::state::running;
}

job_scheduler::time_point job_scheduler::next_stuck_at() const noexcept
{
    return recent_.empty() ? time_point::max() : recent_.front().begun_at_ + patience_.get();
}

void job_scheduler::mark_stuck(time_point now) noexcept
{
    while (next_stuck_at() <= now)
        set_stuck(recent_.front());
}

void job_scheduler::set_stuck(worker_job& j) noexcept
{
    j.is_stuck_ = true;
    ++stuck_;
    job_queue::remove(j);
}

void job_scheduler::set_lane_limit(std::size_t limit) noexcept
{
    lane_limit_ = limit;
    for (auto* list : {&served_, &full_}) {
        for (auto lane = list->begin(); lane != list->end();)
            place(*lane++);
    }
}

void job_scheduler::leave_lane(worker_job& j) noexcept
{
    if (!j.lane_)
        return;
    --j.lane_->running_;
    place(*j.lane_);
}

} // namespace avirt::detail
