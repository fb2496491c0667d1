// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

#include <optional>

namespace avirt::detail {

/// The condition that a virErrorNumber means, whatever failed; nothing if it has no such meaning.
std::optional<condition> condition_of(int number) noexcept;

/// Whether the code, of any category but libvirt's, means the condition.
bool means(const error_code& code, condition c) noexcept;

/// The system's condition that an error of avirt's means, if there is one.
std::optional<boost::system::error_condition> system_condition_of(error e) noexcept;

/// The system's condition that a virErrorNumber means, if there is one.
std::optional<boost::system::error_condition> system_condition_of_libvirt(int number) noexcept;

} // namespace avirt::detail
