// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: deleted (function|constructor).*basic_supervised_connection
void make_mistake(avirt::supervised_connection& host)
{
    avirt::event_source<avirt::domain_lifecycle> source{host};
}
