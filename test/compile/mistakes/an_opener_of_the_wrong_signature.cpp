// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <string>

// says: stream_opener
void make_mistake(avirt::connection& conn, avirt::async_stream& stream)
{
    stream.async_open(
        conn, [](virStreamPtr s) { return virStreamAbort(s); }, [](avirt::error_code) {});
}
