// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

namespace avirt::detail {

/// Makes room for references that are released when there is no memory left.
void prepare_release_queue();

/// Calls free(object) on a worker thread: the last reference to an object of libvirt's may close its
/// connection, which blocks, and deadlocks inside libvirt's callbacks (docs/libvirt.md, "References"). One
/// that waits for its daemon holds up no other.
void release_later(void (*free)(void*), void* object) noexcept;

/// The same for what is known to block: where it ends a command, for instance.
void release_apart(void (*free)(void*), void* object) noexcept;

/// The same for a connection.
void close_later(virConnectPtr connection) noexcept;

} // namespace avirt::detail
