// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/transfer_ends.hpp"

#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

// avirt's streams as the ends of a transfer, with their holes.
namespace avirt::detail {

/// Reads a stream and its holes.
class sparse_source final : public transfer_source
{
public:
    /// @param on_zeros Called before anything is read if the driver does not know holes, so that they are
    /// read as zeros.
    explicit sparse_source(std::shared_ptr<stream_impl> stream, std::function<void()> on_zeros = nullptr);

    /// Restores how the stream treats holes.
    ~sparse_source() override;

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override;
    asio::awaitable<hole> read_hole() override;

private:
    asio::awaitable<transferred> read(asio::mutable_buffer buffer);

    const std::shared_ptr<stream_impl> stream_;
    const std::function<void()> on_zeros_;
    const bool stopped_before_;
    bool stops_ = true;
};

/// Writes a stream and its holes. Holes are written as zeros if the driver does not know them.
class sparse_sink final : public transfer_sink
{
public:
    explicit sparse_sink(std::shared_ptr<stream_impl> stream) : stream_(std::move(stream)) {}

    asio::awaitable<transferred> write(asio::const_buffer bytes) override;

    bool can_write_holes() const override
    {
        return true;
    }

    asio::awaitable<failure> write_hole(std::uint64_t length) override;

    /// Moves over what follows. A driver that does not know holes need not be told.
    failure skip(std::uint64_t length);

private:
    asio::awaitable<failure> write_zeros(std::uint64_t length);

    const std::shared_ptr<stream_impl> stream_;
};

} // namespace avirt::detail
