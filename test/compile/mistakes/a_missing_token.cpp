// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: nodiscard
void make_mistake(avirt::connection& conn)
{
    conn.async_open("test:///default");
}
