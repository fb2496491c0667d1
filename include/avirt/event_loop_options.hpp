// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/slow_callback_report.hpp>

#include <chrono>
#include <cstddef>
#include <functional>

namespace avirt {

/// Options of an event_loop.
struct event_loop_options
{
    /// Maximum number of blocking libvirt calls that run at a time for each connection, including those on
    /// connections of their own; further calls are queued. Connections do not share this limit, and closing,
    /// finishing and aborting do not count. The options of the most recent loop apply.
    std::size_t max_blocking_calls = 16;
    /// Maximum number of worker threads of the process, for blocking calls and for opening, closing,
    /// finishing and aborting. A thread that is stuck in libvirt counts; an idle thread ends after a few
    /// seconds. The options of the most recent loop apply.
    std::size_t max_threads = 1024;
    /// Whether to set SIGPIPE to SIG_IGN if it is SIG_DFL: libvirt's client writes to sockets whose peer may
    /// be gone. The options of the first loop of the process apply.
    bool ignore_sigpipe = true;
    /// Whether to stop libvirt from printing errors to stderr. The options of the first loop of the process
    /// apply.
    bool silence_libvirt = true;
    /// Callbacks that take at least this long are reported; zero: none are.
    std::chrono::nanoseconds slow_callback{0};
    /// Called with each report, on the thread that dispatches, after the slow callback returned.
    std::function<void(const slow_callback_report&)> on_slow_callback{};
};

} // namespace avirt
