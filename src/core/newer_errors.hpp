// SPDX-License-Identifier: BSL-1.0
#pragma once

// Values of virErrorNumber that the oldest supported libvirt does not declare.
namespace avirt::detail {

inline constexpr int no_network_metadata = 111;
inline constexpr int agent_command_timeout = 112;
inline constexpr int agent_command_failed = 113;

} // namespace avirt::detail
