// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

namespace avirt::detail {

/// The code for an error of libvirt's. An errno that it wraps is reported in the system category.
error_code libvirt_code(const error_details& d) noexcept;

/// A code of libvirt's category for the number, which also means the condition.
error_code refined_libvirt_code(int number, condition c) noexcept;

} // namespace avirt::detail
