// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/transfer_ends.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>

namespace avirt::detail {

/// A hole that was read; its length is 0 if there is none.
struct hole
{
    std::uint64_t length = 0;
    failure error{};
};

/// Memory that a sink has lent.
struct prepared
{
    asio::mutable_buffer memory{};
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

    // A source that has its bytes in memory of its own lends them, which saves a copy. Only such a source's
    // functions are called, in the place of read_some().

    virtual bool has_memory() const
    {
        return false;
    }

    /// Waits for bytes, which data() then returns, or for a hole: then data() is empty. Fails as read_some()
    /// does.
    virtual asio::awaitable<failure> peek();

    virtual asio::const_buffer data() const
    {
        return {};
    }

    /// Gives back the first bytes of data().
    virtual failure consume(std::uint64_t bytes);

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

    // A sink that keeps the bytes in memory of its own lends that, which saves a copy.

    virtual bool has_memory() const
    {
        return false;
    }

    /// Waits for memory for bytes, which commit() then writes.
    virtual asio::awaitable<prepared> prepare();
    virtual failure commit(std::size_t bytes);
};

} // namespace avirt::detail
