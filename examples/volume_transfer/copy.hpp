// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer.hpp"
#include "volume.hpp"

/// The transfer of a volume to another, of the same host or another one. Nothing is stored on the way.
class copy final : public transfer
{
public:
    copy(volume from, volume to);

    std::string text() const override;
    asio::awaitable<std::uint64_t> size() override;
    asio::awaitable<avirt::progress> move(avirt::transfer_options options) override;
    asio::awaitable<std::string> source_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    asio::awaitable<std::string> target_checksum(std::uint64_t size, avirt::transfer_limits limits) override;
    std::string target() const override;
    std::string remains(bool resumes) const override;

private:
    /// A part of the volumes, and the hole that is to follow it in the target.
    struct part
    {
        std::uint64_t begin, end, hole_behind;
    };

    asio::awaitable<void> move_part(part which, avirt::transfer_options options, avirt::progress& moved);

    volume from_;
    volume to_;
};
