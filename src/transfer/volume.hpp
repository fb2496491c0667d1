// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/compare.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/openers.hpp>
#include <avirt/volume_info.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace avirt::detail {

/// A volume of a transfer.
struct transfer_volume
{
    std::shared_ptr<connection_impl> connection;
    volume_locator where;

    /// For messages.
    std::string name() const;
};

/// Compares the first @p size bytes of a file with the volume, from the offset on, until they differ.
asio::awaitable<comparison> compare(
    file_reader& file, const transfer_volume& volume, std::uint64_t offset, std::uint64_t size,
    transfer_meter& meter);

/// Fails with error::verification_failed if the file differs from the part of the volume.
asio::awaitable<failure> verify(
    file_reader& file, const std::filesystem::path& path, const transfer_volume& volume, std::uint64_t offset,
    std::uint64_t size, transfer_meter& meter);

} // namespace avirt::detail
