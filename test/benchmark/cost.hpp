// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

#include <sys/types.h>

namespace benchmark {

/// The number of allocations of this process so far.
std::size_t allocations() noexcept;

/// Lets the parent trace this process, as the functions below require.
void be_traced();

/// Makes a system call that nothing else makes: system calls are counted between two marks.
void mark() noexcept;

/// Traces a child that called be_traced() until it ends. Returns the number of system calls that it made
/// between its first and its second mark.
std::size_t count_system_calls(pid_t child);

/// Traces a child that called be_traced(), then kills it. Returns the number of system calls that its threads
/// made in so many seconds, after one second in which the child may settle.
std::size_t count_system_calls_within(pid_t child, unsigned seconds);

} // namespace benchmark
