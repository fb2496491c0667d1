// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/host_report.hpp>

#include <cstddef>
#include <deque>

namespace avirt::detail {

/// The reports of a supervised connection that have not been received yet, up to a capacity. If it overflows,
/// all reports are dropped; once the application has been told, it needs a new snapshot (host_connected).
/// Guarded by its owner's lock.
class report_queue
{
public:
    explicit report_queue(std::size_t capacity) noexcept;

    bool empty() const noexcept
    {
        return reports_.empty();
    }

    /// Adds a report, unless the next snapshot will contain it. Returns the reports that were dropped, which
    /// the caller destroys outside the lock.
    std::deque<host_report> push(host_report r);

    /// Removes the first report. The queue must not be empty.
    host_report pop();

    void clear() noexcept;

    /// Returns whether the queue has overflowed since the last call. If it has, a snapshot is needed.
    bool take_overflow() noexcept;

    bool needs_snapshot() const noexcept
    {
        return needs_snapshot_;
    }

    /// A snapshot is being made: later changes have to be reported.
    void begin_snapshot() noexcept;

private:
    const std::size_t capacity_;
    std::deque<host_report> reports_;
    bool has_overflowed_ = false;
    bool needs_snapshot_ = false;
};

} // namespace avirt::detail
