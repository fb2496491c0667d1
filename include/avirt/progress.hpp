// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>

namespace avirt {

/// How far a transfer has come.
struct progress
{
    std::uint64_t bytes = 0;      ///< Bytes of data that have been transferred, without holes.
    std::uint64_t hole_bytes = 0; ///< Bytes of holes that have been passed on as holes.
    std::uint64_t total = 0;      ///< What bytes and hole_bytes will add up to at the end; 0: unknown.
    std::chrono::steady_clock::duration elapsed{}; ///< The time since the transfer began to move data.
};

} // namespace avirt
