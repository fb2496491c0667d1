// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

namespace avirt::detail {

/// Whether libvirt says that the connection is lost, as far as the error alone tells.
bool indicates_loss(const error_details& d) noexcept;

} // namespace avirt::detail
