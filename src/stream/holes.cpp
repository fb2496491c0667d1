// SPDX-License-Identifier: BSL-1.0
#include "stream/holes.hpp"

#include <algorithm>
#include <limits>

namespace avirt::detail {

data_or_hole receive_up_to_hole(virStreamPtr stream, asio::mutable_buffer buffer) noexcept
{
    constexpr int at_hole = -3;
    const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
    data_or_hole received;
    received.result =
        virStreamRecvFlags(stream, static_cast<char*>(buffer.data()), size, VIR_STREAM_RECV_STOP_AT_HOLE);
    if (received.result != at_hole)
        return received;
    long long length = 0;
    received.result = virStreamRecvHole(stream, &length, 0);
    received.is_hole = received.result == 0;
    received.hole = static_cast<std::uint64_t>(std::max(length, 0LL));
    return received;
}

} // namespace avirt::detail
