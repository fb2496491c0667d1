// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt {

/// The type of own_connection.
struct own_connection_t
{
};

/// Makes basic_connection::async_call() use a connection that is opened for this one call.
inline constexpr own_connection_t own_connection{};

} // namespace avirt
