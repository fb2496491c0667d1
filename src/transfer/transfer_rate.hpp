// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace avirt::detail {

/// A limit on the number of bytes per second. Any number of transfers may share it.
class transfer_rate
{
public:
    using clock = std::chrono::steady_clock;

    /// @param bytes_per_second 0: no limit.
    explicit transfer_rate(std::uint64_t bytes_per_second) noexcept : bytes_per_second_(bytes_per_second) {}

    /// The most bytes that may be moved at once, so that they move evenly.
    std::size_t largest_piece() const noexcept;

    /// Reserves the time that the bytes take. Returns when they may be moved, which may be in the past.
    /// Time that was not used before is made up for by a tenth of a second at most.
    clock::time_point reserve(std::size_t bytes, clock::time_point now) noexcept;
    /// Gives the time back that was reserved for bytes which are not moved.
    void give_back(std::size_t bytes) noexcept;

private:
    clock::duration time_for(std::size_t bytes) const noexcept;

    const std::uint64_t bytes_per_second_;
    fork_safe_mutex mutex_;
    clock::time_point next_{}; // when the next bytes may be moved
};

} // namespace avirt::detail
