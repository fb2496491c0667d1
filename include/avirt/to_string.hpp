// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <string_view>

// Short English names of libvirt's enumerators, for logs and user interfaces. Each function returns "unknown"
// for a value that avirt does not know, such as one of a newer libvirt. The text has static storage.

namespace avirt {

/// Names a domain's state: "running", "paused", "shut off", ...
///
/// @code
/// std::cout << status.name << ": " << avirt::to_string(virDomainState(status.state)) << '\n';
/// @endcode
AVIRT_DECL std::string_view to_string(virDomainState state) noexcept;

/// Names the reason for a domain's state: "booted", "migrated", "crashed", ...
///
/// @param state The state, which tells to which of libvirt's enumerations the reason belongs.
/// @param reason The reason, such as virDomainRunningReason.
///
/// @code
/// avirt::to_string(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED); // "destroyed"
/// @endcode
AVIRT_DECL std::string_view to_string(virDomainState state, int reason) noexcept;

/// Names what happened to a domain: "started", "stopped", ...
AVIRT_DECL std::string_view to_string(virDomainEventType event) noexcept;

/// Names the detail of what happened to a domain: "booted", "destroyed", ...
///
/// @param event The event, which tells to which of libvirt's enumerations the detail belongs.
/// @param detail The detail, such as virDomainEventStartedDetailType.
AVIRT_DECL std::string_view to_string(virDomainEventType event, int detail) noexcept;

} // namespace avirt
