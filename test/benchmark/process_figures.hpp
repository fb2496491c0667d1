// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

namespace benchmark {

/// What this process occupies, in bytes.
struct memory
{
    double heap = 0; // allocated with malloc() and not freed
    double resident = 0;
};

memory present_memory();

/// The number of threads that exist.
int threads();

/// How often a thread of this process has stopped waiting so far.
struct wake_ups
{
    double returns_of_epoll_wait = 0;
    double voluntary_switches = 0; // of the existing threads but the calling one
};

wake_ups present_wake_ups();

} // namespace benchmark
