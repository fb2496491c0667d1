// SPDX-License-Identifier: BSL-1.0
#include "event/event_queue.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace avirt::detail {

event_queue::event_queue(std::size_t capacity) noexcept : capacity_(std::max<std::size_t>(capacity, 1)) {}

event_queue::item event_queue::push(std::unique_ptr<erased_event> event) noexcept
{
    item dropped;
    if (items_.size() >= capacity_) {
        dropped = pop();
        lost_ += dropped.event ? 1u : 0u;
        has_overflowed_ = true;
    }
    if (!event || !try_add(std::move(event))) {
        ++lost_;
        has_overflowed_ = true;
    }
    return dropped;
}

bool event_queue::try_add(std::unique_ptr<erased_event> event) noexcept
try {
    items_.push_back({std::move(event), {}});
    return true;
}
catch (const std::bad_alloc&) {
    return false;
}

void event_queue::push_end(failure reason)
{
    if (items_.empty() || items_.back().event)
        items_.push_back({nullptr, std::move(reason)});
}

event_queue::item event_queue::pop()
{
    auto first = std::move(items_.front());
    items_.pop_front();
    return first;
}

void event_queue::clear() noexcept
{
    items_.clear();
    has_overflowed_ = false;
}

bool event_queue::take_overflow() noexcept
{
    return std::exchange(has_overflowed_, false);
}

std::uint64_t event_queue::take_lost() noexcept
{
    return std::exchange(lost_, 0);
}

} // namespace avirt::detail
