// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>

/// Runs @p work in a child process, and returns its exit status.
///
/// The processes that it leaves behind are adopted, reaped, and killed when the child ends, however it ends.
/// Without that, libvirt would wait long for its QEMU: it is a daemon, so the first process of the system has
/// to reap it, and those of many containers do not.
int run_guarded(const std::function<int()>& work);
