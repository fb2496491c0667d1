// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

namespace avirt::detail {

/// Initialises libvirt and registers event_registry's six functions with it, once for the process; throws
/// libvirt's error, or error::foreign_event_loop if libvirt already has another event implementation.
void register_with_libvirt();

/// A timeout with this callback has arrived in event_registry: it may be the one by which the registration is
/// checked.
void note_arrival(virEventTimeoutCallback callback) noexcept;

} // namespace avirt::detail
