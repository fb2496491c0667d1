// SPDX-License-Identifier: BSL-1.0
#include "host/report_queue.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace avirt::detail {
namespace {

bool is_snapshot(const published_report& r) noexcept
{
    return std::holds_alternative<host_connected>(r.report);
}

} // namespace

report_queue::report_queue(std::size_t capacity) noexcept : capacity_(std::max<std::size_t>(capacity, 1)) {}

void report_queue::push(report_ptr r, const host_record& record)
{
    if (phase_ == phase::overflowed || phase_ == phase::starting_over)
        return remember_states_before(*r, record);
    if (phase_ == phase::host_away && is_snapshot(*r)) {
        remember_states_before(*r, record);
        return start_over(record);
    }
    const bool is_full = reports_.size() >= capacity_ || (is_snapshot(*r) && snapshots_ == max_snapshots);
    if (!is_full)
        return add(std::move(r));
    phase_ = phase::overflowed;
    reports_.push_back(std::move(r));
    for (const auto& dropped : reports_)
        remember_states_before(*dropped);
    for (const auto& dropped : reports_)
        forget_unchanged(*dropped, record);
    clear();
}

void report_queue::start_over(const host_record& record)
{
    if (phase_ != phase::starting_over && phase_ != phase::host_away)
        return;
    auto present = record.present_to(told_);
    if (!present)
        return;
    if (is_snapshot(*present)) {
        phase_ = phase::in_step;
        told_.clear();
    }
    else if (std::exchange(phase_, phase::host_away) == phase::host_away) {
        return; // It has been told that already.
    }
    add(std::move(present));
}

void report_queue::add(report_ptr r)
{
    snapshots_ += is_snapshot(*r);
    reports_.push_back(std::move(r));
}

report_ptr report_queue::pop()
{
    auto first = std::move(reports_.front());
    reports_.pop_front();
    if (is_snapshot(*first)) {
        --snapshots_;
        has_received_snapshot_ = true;
    }
    return first;
}

bool report_queue::take_overflow() noexcept
{
    if (phase_ != phase::overflowed)
        return false;
    phase_ = phase::starting_over;
    return true;
}

void report_queue::clear() noexcept
{
    snapshots_ = 0;
    reports_.clear();
}

void report_queue::remember_states_before(const published_report& missed, const host_record& record)
{
    remember_states_before(missed);
    forget_unchanged(missed, record);
}

/// Forgets the domains that are again as the receiver knows them: otherwise those that come and go would add
/// up.
void report_queue::forget_unchanged(const published_report& missed, const host_record& record)
{
    for (const auto& before : missed.previous) {
        const auto told = told_.find(before.uuid);
        if (told != told_.end() && !record.has_changed(told->second))
            told_.erase(told);
    }
}

void report_queue::remember_states_before(const published_report& missed)
{
    if (!has_received_snapshot_)
        return;
    for (const auto& before : missed.previous)
        told_.try_emplace(before.uuid, before);
}

} // namespace avirt::detail
