// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: GCC 12 destroys this temporary twice
boost::asio::awaitable<void> make_mistake(avirt::connection& conn, std::string name)
{
    avirt::domain vm =
        co_await conn.async_call([name](virConnectPtr c) { return virDomainLookupByName(c, name.c_str()); });
}
