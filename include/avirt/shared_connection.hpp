// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt {

/// The type of shared_connection.
struct shared_connection_t
{
};

/// Makes basic_async_stream::async_open() use the given connection instead of opening one for the stream.
inline constexpr shared_connection_t shared_connection{};

} // namespace avirt
