// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/transfer_rate.hpp"

#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace avirt::detail {

namespace asio = boost::asio;

/// Counts what a transfer moves, reports it, and keeps to the limits on the rate. Used on the strand of the
/// transfer.
class transfer_meter
{
public:
    using clock = std::chrono::steady_clock;

    explicit transfer_meter(const transfer_options& options, clock::time_point now = clock::now());

    /// Announces how many bytes the transfer moves, with holes; 0: unknown.
    void expect(std::uint64_t total) noexcept
    {
        so_far_.total = total;
    }

    /// The most bytes, at least one, that may be moved at once.
    std::size_t largest_piece() const noexcept;

    /// Waits until so many bytes may be moved, or until the coroutine is cancelled.
    asio::awaitable<void> wait_for_turn(std::size_t bytes);

    // These throw what on_progress throws.

    /// Counts bytes that have been moved.
    void count(std::uint64_t bytes, clock::time_point now = clock::now());
    /// Counts a hole that has been moved as such.
    void count_hole(std::uint64_t length, clock::time_point now = clock::now());
    /// Reports for the last time.
    void finish(clock::time_point now = clock::now());

    const progress& so_far() const noexcept
    {
        return so_far_;
    }

private:
    void report_now_and_then(clock::time_point now);

    const std::function<void(const progress&)> on_progress_;
    const clock::time_point start_;
    clock::time_point next_report_;
    transfer_rate own_rate_;
    const std::shared_ptr<shared_limits> limits_;
    progress so_far_;
};

} // namespace avirt::detail
