// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/progress.hpp>
#include <avirt/transfer_limits.hpp>

#include <cstdint>
#include <functional>
#include <optional>

namespace avirt {

/// Options of a transfer. Each algorithm documents those that it uses.
///
/// @code
/// avirt::transfer_options options;
/// options.resume = true;
/// options.on_progress = [](const avirt::progress& p) { std::cerr << p.bytes << '\r'; };
/// @endcode
class transfer_options
{
public:
    transfer_options() {} // Not an aggregate: GCC 12 miscompiles their temporaries.

    /// The bytes to leave out at the beginning.
    std::uint64_t offset = 0;
    /// The maximum number of bytes to transfer; 0: up to the end.
    std::uint64_t length = 0;
    /// Whether holes are transferred as holes. Otherwise they are transferred as zeros.
    bool sparse = true;
    /// Whether a transfer that was interrupted is continued, and can be continued if it is interrupted.
    bool resume = false;
    /// Whether what has arrived is read back and compared with what was sent.
    bool verify = false;
    /// The maximum rate of data; 0: no limit. Holes do not count.
    std::uint64_t bytes_per_second = 0;
    /// Called from the operation's executor while data moves, at least once and at most ten times a second,
    /// and once more at the end, whatever the result. An exception that it throws ends the transfer with
    /// error::call_threw, or with the error_code of the exception.
    std::function<void(const progress&)> on_progress{};
    /// Limits that the transfer shares with others.
    std::optional<transfer_limits> limits{};
};

} // namespace avirt
