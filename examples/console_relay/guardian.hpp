// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>

/// Runs @p work in a child process, and returns its exit status.
///
/// Processes that the child leaves behind are adopted and reaped; when the child ends, for whatever reason,
/// they are killed. Otherwise libvirt would wait long for QEMU to end: QEMU is a daemon, so the first process
/// of the system has to reap it, and that of many containers does not.
int run_guarded(const std::function<int()>& work);
