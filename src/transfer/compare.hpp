// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/file_reader.hpp"
#include "transfer/transfer_ends.hpp"
#include "transfer/transfer_meter.hpp"

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <optional>

namespace avirt::detail {

/// What compare() has found.
struct comparison
{
    failure error{};
    std::uint64_t bytes = 0;      // of data in the file that are equal
    std::uint64_t hole_bytes = 0; // of holes in the file that are equal to what the other has
    bool is_equal = false;        // to the end
    /// Where the hole begins that the other has up to its end. It has none if that is not found out soon
    /// after the first difference.
    std::optional<std::uint64_t> last_hole{};

    /// The offset of the first difference.
    std::uint64_t equal() const noexcept
    {
        return bytes + hole_bytes;
    }
};

/// Compares a file with another source, which may be longer, until they differ. A hole equals zeros. Both are
/// read at the same time. The other source is read at the rate of the meter, whose reports go on.
asio::awaitable<comparison> compare(file_reader& file, transfer_source& other, transfer_meter& meter);

} // namespace avirt::detail
