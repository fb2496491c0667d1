// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/initiation.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace avirt {

namespace detail {
class shared_limits;
}

/// Limits that several transfers share: how many of them run at a time, and how fast all of them are
/// together.
///
/// A transfer whose transfer_options contain limits waits for a place before it opens or reads anything; the
/// places are given away first come, first served. Copies of the object share the same limits, which live as
/// long as a copy or a transfer that uses them.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe, copies that share the same limits included.@n
/// @e Shared @e objects: Safe, except that nothing else may use an object while it is assigned to.
///
/// @code
/// const avirt::transfer_limits limits{4, 100 << 20}; // four at a time, 100 MiB per second
/// avirt::transfer_options options;
/// options.limits = limits;
/// for (const auto& name : names)
///     avirt::async_download(conn, {"default", name}, directory / name, options, report(name));
/// @endcode
class transfer_limits
{
public:
    /// @param max_transfers The number of transfers that run at the same time; 0: no limit.
    /// @param bytes_per_second The number of bytes of data that all transfers move in a second; 0: no limit.
    AVIRT_DECL explicit transfer_limits(std::size_t max_transfers, std::uint64_t bytes_per_second = 0);

private:
    friend struct detail::access;

    const std::shared_ptr<detail::shared_limits>& impl() const noexcept
    {
        return impl_;
    }

    std::shared_ptr<detail::shared_limits> impl_;
};

} // namespace avirt
