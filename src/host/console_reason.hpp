// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "host/domain_status.hpp"

#include <avirt/console_state.hpp>
#include <avirt/detail/failure.hpp>
#include <avirt/error.hpp>

#include <string>

namespace avirt::detail {

/// Whether a domain in this state (virDomainState) has a console.
bool is_active(int state) noexcept;

/// Why a domain has no console; empty if it has.
error_details reason_of(const domain_status& domain);
error_details no_such_domain(const std::string& name);
error_details reason_of(failure why);

/// The state of a session whose console has been lost, or could not be opened.
console_state state_after(const failure& why);

/// Whether another attempt to open a console can only succeed after something has changed.
bool is_permanent(const failure& why);

} // namespace avirt::detail
