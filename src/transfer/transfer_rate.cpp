// SPDX-License-Identifier: BSL-1.0
#include "transfer/transfer_rate.hpp"

#include <algorithm>
#include <limits>
#include <mutex>

namespace avirt::detail {
namespace {

constexpr std::chrono::milliseconds piece_time{100};

} // namespace

std::size_t transfer_rate::largest_piece() const noexcept
{
    if (bytes_per_second_ == 0)
        return std::numeric_limits<std::size_t>::max();
    return std::max<std::size_t>(1, static_cast<std::size_t>(bytes_per_second_ / 10));
}

transfer_rate::clock::time_point transfer_rate::reserve(std::size_t bytes, clock::time_point now) noexcept
{
    if (bytes_per_second_ == 0)
        return now;
    const std::lock_guard guard(mutex_);
    const auto turn = std::max(next_, now - piece_time);
    next_ = turn + time_for(bytes);
    return turn;
}

void transfer_rate::give_back(std::size_t bytes) noexcept
{
    if (bytes_per_second_ == 0)
        return;
    const std::lock_guard guard(mutex_);
    next_ -= time_for(bytes);
}

transfer_rate::clock::duration transfer_rate::time_for(std::size_t bytes) const noexcept
{
    using seconds = std::chrono::duration<double>;
    const seconds time(static_cast<double>(bytes) / static_cast<double>(bytes_per_second_));
    return std::chrono::ceil<clock::duration>(time);
}

} // namespace avirt::detail
