// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/open_options.hpp>

#include <chrono>
#include <cstddef>

namespace avirt {

/// Options of a supervised connection.
struct supervision_options
{
    open_options open{};
    /// Least time between the loss of the connection and the first attempt to open it again. The actual time
    /// is random, up to twice as long, so that many hosts that were lost together do not return in step.
    std::chrono::milliseconds first_delay{100};
    /// The delay doubles with each failed attempt, up to this limit.
    std::chrono::milliseconds longest_delay{30'000};
    /// Maximum number of queued reports, of which at most sixteen are host_connected: each lists all domains.
    std::size_t capacity = 1024;
};

} // namespace avirt
