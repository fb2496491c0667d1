// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace avirt {

/// What an event loop is doing, and has done: event_loop::stats().
struct event_loop_stats
{
    std::size_t watches = 0;       ///< Handles that libvirt has registered.
    std::size_t timeouts = 0;      ///< Timeouts that libvirt has registered.
    std::size_t pending_frees = 0; ///< Removed handles and timeouts whose free callback has not run yet.
    std::uint64_t dispatched = 0;  ///< Callbacks called so far, by all loops of the process.
    std::chrono::nanoseconds longest_callback{0};
    std::size_t running_calls = 0; ///< Blocking calls that are running on worker threads.
    /// Blocking calls that wait for a thread, or for another call on their connection.
    std::size_t queued_calls = 0;
    std::size_t abandoned_calls = 0; ///< Calls that still run although their operations were cancelled.
};

} // namespace avirt
