// SPDX-License-Identifier: BSL-1.0
#include "core/job_scheduler.hpp"

#include <algorithm>
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
    return (!high_priority_.empty() && urgent_.has_room())
        || (lowest == priority::any && has_waiting_lane() && with_lane_.has_room());
}

bool job_scheduler::needs_watcher() const noexcept
{
    return (!high_priority_.empty() && !urgent_.has_room()) || (has_waiting_lane() && !with_lane_.has_room());
}

bool job_scheduler::is_ready(const worker_job& j) const noexcept
{
    if (j.state_ != worker_job::state::queued)
        return false;
    const auto* lane = j.lane_.get();
    if (!lane)
        return urgent_.has_room();
    return with_lane_.has_room() && lane->running_ < lane_limit_
        && lane->waiting_.has_among_first(lane_limit_ - lane->running_, j);
}

job_ptr job_scheduler::take_next(priority lowest, time_point now) noexcept
{
    if (!has_ready(lowest))
        return nullptr;
    auto j = urgent_.has_room() ? high_priority_.pop() : nullptr;
    if (!j)
        j = take_from_lane();
    --queued_;
    ++running_;
    high_priority_running_ += j->lane_ ? 0u : 1u;
    j->state_ = worker_job::state::running;
    j->begun_at_ = now;
    group_of(*j).recent.push(j);
    return j;
}

job_ptr job_scheduler::take_from_lane() noexcept
{
    // A lane of which a job is running must not wait for ever because others have none.
    const bool is_turn_of_served = std::exchange(is_turn_of_served_, !is_turn_of_served_);
    auto& list = unserved_.empty() || (is_turn_of_served && !served_.empty()) ? served_ : unserved_;
    auto& lane = list.front();
    list.pop_front();
    lane.list_ = nullptr;
    ++lane.running_;
    auto j = lane.waiting_.pop();
    place(lane);
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

bool job_scheduler::finish(worker_job& j) noexcept
{
    if (std::exchange(j.is_stuck_, false))
        --group_of(j).stuck;
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
    auto begun_at = time_point::max() - longest_healthy_job;
    for (const auto* g : {&with_lane_, &urgent_}) {
        if (!g->recent.empty())
            begun_at = std::min(begun_at, g->recent.front().begun_at_);
    }
    return begun_at + longest_healthy_job;
}

void job_scheduler::mark_stuck(time_point now) noexcept
{
    for (auto* g : {&with_lane_, &urgent_}) {
        while (!g->recent.empty() && g->recent.front().begun_at_ + longest_healthy_job <= now)
            set_stuck(g->recent.front());
    }
}

void job_scheduler::set_stuck(worker_job& j) noexcept
{
    j.is_stuck_ = true;
    ++group_of(j).stuck;
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
