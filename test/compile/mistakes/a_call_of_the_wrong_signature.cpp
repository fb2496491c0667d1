// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: connection_function
void make_mistake(avirt::connection& conn)
{
    conn.async_call([](virDomainPtr vm) { return virDomainResume(vm); }, [](avirt::error_code, int) {});
}
