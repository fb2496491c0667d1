// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/transfer_ends.hpp"
#include "transfer/transfer_meter.hpp"

#include <avirt/transfer_packets.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace avirt::detail {

/// The memory of a transfer: a few of libvirt's largest packets.
inline constexpr std::size_t pump_buffer_size = 4 * transfer_packets::largest_packet;

/// Moves everything from the source to the sink. Returns how that failed; a cancellation of the coroutine
/// ends it with asio::error::operation_aborted.
///
/// @param passes_holes Whether holes remain holes if the sink can write them. Otherwise they become zeros.
/// @param buffer_size The most bytes that are read at once.
asio::awaitable<failure> pump(
    transfer_source& source, transfer_sink& sink, transfer_meter& meter, bool passes_holes,
    std::size_t buffer_size = pump_buffer_size);

/// Returns a source that reads a part of another one.
///
/// @param offset The bytes that are read and left out at the beginning.
/// @param length The most bytes that are passed on; 0: all.
std::shared_ptr<transfer_source> part_of(
    std::shared_ptr<transfer_source> whole, std::uint64_t offset, std::uint64_t length);

} // namespace avirt::detail
