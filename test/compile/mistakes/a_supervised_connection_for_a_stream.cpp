// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: deleted (member )?function.*async_open.*basic_supervised_connection
void make_mistake(avirt::supervised_connection& host, avirt::async_stream& stream)
{
    stream.async_open(host, avirt::console{"vm1"}, [](avirt::error_code) {});
}
