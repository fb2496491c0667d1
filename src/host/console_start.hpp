// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>

namespace avirt::detail {

class console_driver;

/// Starts the guest of a session so that no byte of its output is missed.
void start_guest(
    const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
    std::shared_ptr<console_driver> driver, wait_handler handler, error_details* details);

} // namespace avirt::detail
