// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace avirt::detail {

/// The times between the attempts to open a connection. They double, and are random, so that many hosts that
/// were lost together do not return in step.
class retry_delay
{
public:
    using milliseconds = std::chrono::milliseconds;

    retry_delay(milliseconds first, milliseconds longest)
        : first_(std::max(first, milliseconds(1))),
          longest_(std::max(longest, first_)),
          base_(first_),
          random_(std::random_device()())
    {
    }

    /// Returns the time until the next attempt: at least the base, and less than twice the base.
    milliseconds next()
    {
        std::uniform_int_distribution<std::int64_t> extra(0, base_.count() - 1);
        const auto delay = std::min(base_ + milliseconds(extra(random_)), longest_);
        base_ = std::min(2 * base_, longest_);
        return delay;
    }

    /// The connection was open: starts again with the shortest delay.
    void reset() noexcept
    {
        base_ = first_;
    }

private:
    const milliseconds first_;
    const milliseconds longest_;
    milliseconds base_;
    std::minstd_rand random_;
};

} // namespace avirt::detail
