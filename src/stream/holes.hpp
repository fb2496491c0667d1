// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/buffer.hpp>
#include <libvirt/libvirt.h>

#include <cstdint>

namespace avirt::detail {

/// What receive_up_to_hole() has received.
struct data_or_hole
{
    int result = 0;         ///< As of virStreamRecv: bytes, 0 at the end of the stream, or an error.
    bool is_hole = false;   ///< Whether there is a hole instead.
    std::uint64_t hole = 0; ///< The length of the hole.
};

/// Receives data up to the next hole, or the next hole: virStreamRecv would return the whole hole as zeros.
data_or_hole receive_up_to_hole(virStreamPtr stream, asio::mutable_buffer buffer) noexcept;

} // namespace avirt::detail
