// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/transfer_ends.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>

#include <cstdint>

namespace avirt::detail {

/// A hole that was read; its length is 0 if there is none.
struct hole
{
    std::uint64_t length = 0;
    failure error{};
};

/// What a transfer reads from. Its operations run on the strand of the transfer, one at a time, and do not
/// throw.
class transfer_source
{
public:
    virtual ~transfer_source() = default;

    /// Reads some bytes into a buffer that is not empty. Fails with asio::error::eof at the end, and with
    /// error::at_hole if a hole comes next, which read_hole() reads.
    virtual asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) = 0;

    /// Reads the rest of a hole.
    virtual asio::awaitable<hole> read_hole();

    /// The number of bytes that can be read altogether, with holes; 0: unknown.
    virtual std::uint64_t size() const
    {
        return 0;
    }
};

/// What a transfer writes to. Its operations run on the strand of the transfer, one at a time, and do not
/// throw.
class transfer_sink
{
public:
    virtual ~transfer_sink() = default;

    /// Writes some of the bytes, at least one unless that fails.
    virtual asio::awaitable<transferred> write(asio::const_buffer bytes) = 0;

    /// Whether write_hole() may be called. Otherwise the transfer writes zeros.
    virtual bool can_write_holes() const
    {
        return false;
    }

    virtual asio::awaitable<failure> write_hole(std::uint64_t length);
};

} // namespace avirt::detail
