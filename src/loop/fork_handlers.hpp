// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt::detail {

// A forked child shares the files of the event tables with its parent, among them the epoll set and the
// connections' sockets. It leaves them alone until it has files of its own (docs/libvirt.md, "Fork").

/// Makes every fork of this process keep the event tables consistent, in the parent and in the child.
void install_fork_handlers() noexcept;

/// Gives the child an epoll set of its own. Called by the context's notify_fork.
void restart_after_fork();

} // namespace avirt::detail
