// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/domain_status.hpp>

#include <libvirt/libvirt.h>

#include <optional>
#include <string_view>
#include <vector>

// Questions about domains, for worker threads. All functions throw avirt::exception on failure.
namespace avirt::detail {

/// Whether the text is the domain's name or UUID.
bool is_called(const domain_status& d, std::string_view text) noexcept;

/// Everything but the state. Does not ask the daemon.
domain_status identity_of(domain d);

/// Asks for the domain's state. Returns nothing if the domain does not exist any more.
std::optional<domain_status> status_of(domain d);

/// All domains of the connection, with their states. Asks the daemon twice, however many domains there are;
/// once for each domain only if the driver cannot tell all states at once.
std::vector<domain_status> list_domains(virConnectPtr connection);

} // namespace avirt::detail
