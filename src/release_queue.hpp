// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt::detail {

/// Calls free(object) on a worker thread: the last reference to an object of libvirt's may close its
/// connection, which blocks, and deadlocks inside libvirt's callbacks (docs/libvirt.md, "References").
void release_later(void (*free)(void*), void* object) noexcept;

} // namespace avirt::detail
