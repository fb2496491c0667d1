// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <cstddef>

namespace avirt {

/// A completion condition of asio::async_read and asio::async_write, which transfers everything, in pieces as
/// large as a packet of libvirt.
///
/// Asio's own condition, transfer_all, passes at most 64 KiB at a time to a stream, so that each packet
/// contains at most that, which makes an upload slower: each packet costs the daemon the same whatever its
/// size. A stream that shares libvirt's connection sends at most 64 KiB at a time anyway.
///
/// @code
/// co_await asio::async_write(
///     stream, asio::buffer(image), avirt::transfer_packets(), asio::use_awaitable);
/// @endcode
struct transfer_packets
{
    /// The number of bytes that the largest packet contains.
    static constexpr std::size_t largest_packet = 262120;

    transfer_packets() noexcept {} // Not an aggregate: GCC 12 miscompiles their temporaries.

    /// Determines how much to transfer next.
    ///
    /// @param ec The result of the latest read or write of the operation.
    ///
    /// @return The most bytes that the next read or write may transfer: those of a packet, or 0 after an
    /// error, which ends the operation.
    std::size_t operator()(const error_code& ec, std::size_t) const noexcept
    {
        return ec ? 0 : largest_packet;
    }
};

} // namespace avirt
