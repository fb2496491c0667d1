// SPDX-License-Identifier: BSL-1.0
#include "host/report_queue.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace avirt::detail {

report_queue::report_queue(std::size_t capacity) noexcept : capacity_(std::max<std::size_t>(capacity, 1)) {}

std::deque<host_report> report_queue::push(host_report r)
{
    std::deque<host_report> dropped;
    if (has_overflowed_ || (needs_snapshot_ && std::holds_alternative<domain_changed>(r)))
        return dropped;
    if (reports_.size() >= capacity_) {
        dropped.swap(reports_);
        has_overflowed_ = true;
    }
    else {
        reports_.push_back(std::move(r));
    }
    return dropped;
}

host_report report_queue::pop()
{
    auto first = std::move(reports_.front());
    reports_.pop_front();
    return first;
}

void report_queue::clear() noexcept
{
    reports_.clear();
}

bool report_queue::take_overflow() noexcept
{
    if (!std::exchange(has_overflowed_, false))
        return false;
    needs_snapshot_ = true;
    return true;
}

void report_queue::begin_snapshot() noexcept
{
    needs_snapshot_ = false;
}

} // namespace avirt::detail
