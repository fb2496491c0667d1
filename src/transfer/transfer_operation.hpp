// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/coroutine_operation.hpp"
#include "transfer/transfer_meter.hpp"

#include <avirt/detail/initiate_transfer.hpp>
#include <avirt/detail/transfer_ends.hpp>
#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <functional>

namespace avirt::detail {

/// A coroutine that performs a transfer and returns how that failed. It runs on a strand of the handler's
/// executor. What it throws becomes the failure.
using transfer_function = std::function<asio::awaitable<failure>(transfer_meter&)>;

/// Launches a transfer: waits for a place if the options contain limits, calls the function, and reports the
/// end of the transfer.
void launch_transfer(
    const transfer_executors& executors, transfer_options options, transfer_handler handler,
    error_details* details, transfer_function transfer);

} // namespace avirt::detail
