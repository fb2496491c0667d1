// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <cstdint>
#include <string>

namespace asio = boost::asio;

/// The transfer of one volume's content.
class transfer
{
public:
    virtual ~transfer() = default;

    /// What is transferred to where, for messages.
    virtual std::string text() const = 0;

    /// The number of bytes that are to be transferred.
    virtual asio::awaitable<std::uint64_t> size() = 0;

    virtual asio::awaitable<avirt::progress> move(avirt::transfer_options options) = 0;

    /// The SHA-256 of the first @p size bytes of either side.
    virtual asio::awaitable<std::string> source_checksum(
        std::uint64_t size, avirt::transfer_limits limits) = 0;
    virtual asio::awaitable<std::string> target_checksum(
        std::uint64_t size, avirt::transfer_limits limits) = 0;

    /// The target, as it stands beside its checksum.
    virtual std::string target() const = 0;

    /// A sentence that says what an interruption has left, and how to go on.
    virtual std::string remains(bool resumes) const = 0;
};
