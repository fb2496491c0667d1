// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "volume.hpp"

/// Returns how many of the first @p size bytes of two volumes are equal up to the first difference.
asio::awaitable<std::uint64_t> equal_bytes(volume a, volume b, std::uint64_t size);

/// Returns where the last data of a volume's part ends: holes follow up to @p end. If there is no data, this
/// is @p begin.
asio::awaitable<std::uint64_t> end_of_data(volume v, std::uint64_t begin, std::uint64_t end);
