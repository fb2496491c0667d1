// SPDX-License-Identifier: BSL-1.0
#include "loop/timeout_table.hpp"

#include <boost/system/system_error.hpp>
#include <sys/timerfd.h>

#include <cerrno>
#include <utility>

namespace avirt::detail {

void timeout_table::open()
{
    if (timer_)
        return;
    timer_ = unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer_)
        throw boost::system::system_error(errno, boost::system::system_category(), "timerfd_create");
    armed_for_ = clock::time_point::max();
}

void timeout_table::close() noexcept
{
    timer_ = unique_fd();
}

int timeout_table::add(timeout&& t)
{
    // Make room in both lists now: update() must not need memory.
    if (heap_.capacity() <= timeouts_.size())
        heap_.reserve(2 * timeouts_.size() + 16);
    if (ready_.capacity() <= timeouts_.size())
        ready_.reserve(heap_.capacity());
    const auto slot = timeouts_.insert(std::move(t));
    internal_size_ += timeouts_[slot].is_internal ? 1u : 0u;
    schedule(slot);
    return timeouts_[slot].id;
}

void timeout_table::update(int id, int interval, update_from from) noexcept
{
    const auto slot = timeouts_.find(id);
    if (slot == none)
        return;
    unschedule(slot);
    auto& t = timeouts_[slot];
    t.interval = interval;
    if (from != update_from::its_callback) {
        t.by_calls = from == update_from::call && (t.in_a_row != 0 || t.by_calls);
        t.in_a_row = 0;
    }
    schedule(slot);
}

timeout_table::timeout timeout_table::remove(int id) noexcept
{
    const auto slot = timeouts_.find(id);
    if (slot == none)
        return {};
    unschedule(slot);
    internal_size_ -= timeouts_[slot].is_internal ? 1u : 0u;
    return timeouts_.erase(slot);
}

timeout_table::timeout* timeout_table::find(int id) noexcept
{
    const auto slot = timeouts_.find(id);
    return slot == none ? nullptr : &timeouts_[slot];
}

timeout_table::timeout* timeout_table::find_ready(const ready& r) noexcept
{
    auto& t = timeouts_[r.slot];
    return t.id == r.id && t.interval == 0 ? &t : nullptr;
}

void timeout_table::collect_ready(std::vector<ready>& out)
{
    for (auto slot : ready_)
        out.push_back({slot, timeouts_[slot].id});
}

timeout_table::timeout* timeout_table::next_due(clock::time_point now) noexcept
{
    if (heap_.empty())
        return nullptr;
    auto& t = timeouts_[heap_.front()];
    if (t.deadline > now)
        return nullptr;
    t.deadline = now + std::chrono::milliseconds(t.interval);
    ++t.in_a_row;
    sift_down(0);
    return &t;
}

void timeout_table::schedule(std::uint32_t slot) noexcept
{
    auto& t = timeouts_[slot];
    if (t.interval < 0)
        return;
    if (t.interval == 0) {
        t.position = static_cast<std::uint32_t>(ready_.size());
        ready_.push_back(slot);
        return;
    }
    t.deadline = clock::now() + std::chrono::milliseconds(t.interval);
    heap_.push_back(slot);
    sift_up(heap_.size() - 1);
}

void timeout_table::unschedule(std::uint32_t slot) noexcept
{
    const auto& t = timeouts_[slot];
    if (t.interval < 0)
        return;
    const std::size_t position = t.position;
    if (t.interval == 0) {
        ready_[position] = ready_.back();
        timeouts_[ready_[position]].position = static_cast<std::uint32_t>(position);
        ready_.pop_back();
        return;
    }
    const auto last = heap_.back();
    heap_.pop_back();
    if (last == slot)
        return;
    place(last, position);
    sift_up(position);
    sift_down(timeouts_[last].position);
}

void timeout_table::place(std::uint32_t slot, std::size_t position) noexcept
{
    heap_[position] = slot;
    timeouts_[slot].position = static_cast<std::uint32_t>(position);
}

void timeout_table::sift_up(std::size_t position) noexcept
{
    const auto slot = heap_[position];
    const auto deadline = timeouts_[slot].deadline;
    while (position > 0) {
        const auto parent = (position - 1) / 2;
        if (timeouts_[heap_[parent]].deadline <= deadline)
            break;
        place(heap_[parent], position);
        position = parent;
    }
    place(slot, position);
}

void timeout_table::sift_down(std::size_t position) noexcept
{
    const auto slot = heap_[position];
    const auto deadline = timeouts_[slot].deadline;
    for (;;) {
        auto child = 2 * position + 1;
        if (child >= heap_.size())
            break;
        if (child + 1 < heap_.size()
            && timeouts_[heap_[child + 1]].deadline < timeouts_[heap_[child]].deadline)
            ++child;
        if (deadline <= timeouts_[heap_[child]].deadline)
            break;
        place(heap_[child], position);
        position = child;
    }
    place(slot, position);
}

void timeout_table::arm() noexcept
{
    if (heap_.empty())
        return;
    const auto deadline = timeouts_[heap_.front()].deadline;
    if (deadline < armed_for_ || armed_for_ <= clock::now())
        set_timer(deadline);
}

void timeout_table::disarm_if_unused() noexcept
{
    if (heap_.empty() && armed_for_ != clock::time_point::max())
        set_timer(clock::time_point::max());
}

void timeout_table::set_timer(clock::time_point deadline) noexcept
{
    armed_for_ = deadline;
    itimerspec spec{};
    if (deadline != clock::time_point::max()) {
        const auto since_start = deadline.time_since_epoch();
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_start);
        spec.it_value.tv_sec = seconds.count();
        spec.it_value.tv_nsec = std::chrono::nanoseconds(since_start - seconds).count();
    }
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

} // namespace avirt::detail
