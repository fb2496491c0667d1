// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "host/host_record.hpp"
#include "host/published_report.hpp"

#include <cstddef>
#include <deque>

namespace avirt::detail {

/// The reports that one receiver has not received yet, up to a capacity. If it overflows, all of them are
/// dropped: the receiver is told so, and then starts over with the state that the host is in. Guarded by its
/// owner's lock.
class report_queue
{
public:
    explicit report_queue(std::size_t capacity) noexcept;

    /// Adds a report, which the record has made. A receiver that has to start over does not need it: the
    /// state with which it starts over contains it.
    void push(report_ptr r, const host_record& record);

    /// Adds what a receiver receives that has been told of an overflow. Does nothing to any other.
    void start_over(const host_record& record);

    bool empty() const noexcept
    {
        return reports_.empty();
    }

    /// Removes the first report, which the receiver receives. The queue must not be empty.
    report_ptr pop();

    /// Returns whether the queue has overflowed since the last call.
    bool take_overflow() noexcept;

    void clear() noexcept;

    /// The number of domains of which the receiver has missed a change.
    std::size_t missed_domains() const noexcept
    {
        return told_.size();
    }

private:
    enum class phase {
        in_step,
        overflowed,    ///< The receiver has not been told.
        starting_over, ///< It has been told.
        host_away      ///< It has been told, and that the host is away: it starts over when the host is back.
    };

    void add(report_ptr r);
    void remember_states_before(const published_report& missed);
    void remember_states_before(const published_report& missed, const host_record& record);
    void forget_unchanged(const published_report& missed, const host_record& record);

    // The number of snapshots (host_connected) in the queue is limited, because each may name many domains.
    static constexpr std::size_t max_snapshots = 16;

    std::size_t capacity_;
    std::deque<report_ptr> reports_;
    std::size_t snapshots_ = 0;
    bool has_received_snapshot_ = false;
    phase phase_ = phase::in_step;
    told_states told_; // of the domains whose reports were dropped
};

} // namespace avirt::detail
