// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/console_session_impl.hpp>

#include <cstdint>
#include <memory>

namespace avirt::detail {

class console_driver;

std::shared_ptr<console_view_impl> make_console_view(
    std::shared_ptr<console_driver> driver, std::uint64_t from);

} // namespace avirt::detail
