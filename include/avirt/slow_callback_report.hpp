// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <string>

namespace avirt {

/// Describes one callback that held up the execution context for too long.
struct slow_callback_report
{
    int id = 0;                       ///< libvirt's watch or timer id.
    int fd = -1;                      ///< The watched file descriptor; -1 for a timeout.
    bool is_timeout = false;          ///< Whether a timeout's callback was slow; otherwise a watch's.
    std::chrono::nanoseconds took{0}; ///< How long the callback ran.
    /// URI of the connection to which the watch or timeout belongs, if avirt opened that connection: its
    /// socket, its keepalive timer, and whatever an async_call() on it registered. Otherwise empty.
    std::string connection_uri{};
};

} // namespace avirt
