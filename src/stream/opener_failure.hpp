// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

#include <utility>

namespace avirt::detail {

/// The way in which avirt's openers fail. libvirt's last error has to be taken before any object is freed:
/// each libvirt call resets it.
[[noreturn]] inline void throw_failure(failure f)
{
    throw exception(f.code, std::move(f.details));
}

} // namespace avirt::detail
