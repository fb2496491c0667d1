// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

namespace avirt::detail {

/// Reserves memory for references that are released when there is no memory left.
void prepare_release_queue();

/// Calls free(object) on a worker thread. Releasing the last reference to an object may close its connection,
/// which blocks, and deadlocks inside libvirt's callbacks (docs/libvirt.md, "References"). A release that
/// waits for its daemon does not delay others.
void release_later(void (*free)(void*), void* object) noexcept;

/// Does the same for a function that is known to block, for instance because it waits for a command to end.
void release_apart(void (*free)(void*), void* object) noexcept;

/// Does the same for a connection, which it closes.
void close_later(virConnectPtr connection) noexcept;

} // namespace avirt::detail
