// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "command_line.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace asio = boost::asio;

/// A volume and its host.
class volume
{
public:
    volume(avirt::connection& host, volume_name name) : host_(&host), name_(std::move(name)) {}

    avirt::connection& host() const
    {
        return *host_;
    }

    avirt::volume_locator where() const
    {
        return {name_.pool, name_.name};
    }

    std::string text() const
    {
        return name_.pool + "/" + name_.name;
    }

    asio::awaitable<avirt::volume_info> info() const;

private:
    avirt::connection* host_;
    volume_name name_;
};

/// Computes the SHA-256 of the first @p size bytes of a volume. Holes are zeros.
asio::awaitable<std::string> checksum(volume v, std::uint64_t size, avirt::transfer_limits limits);
