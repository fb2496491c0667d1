// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

#include <sys/types.h>

namespace benchmark {

/// Allocations of this process so far.
std::size_t allocations() noexcept;

/// Has the parent follow this process: see below.
void be_traced();

/// A system call that nothing else makes: what is counted lies between two of them.
void mark() noexcept;

/// Follows a child that called be_traced() to its end; returns how many system calls it made between its
/// first and its second mark.
std::size_t count_system_calls(pid_t child);

/// Follows a child that called be_traced(), then ends it; returns how many system calls its threads made in
/// so many seconds, after one second in which it may come to rest.
std::size_t count_system_calls_within(pid_t child, unsigned seconds);

} // namespace benchmark
