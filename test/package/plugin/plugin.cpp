// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>

extern "C" int run_plugin()
{
    boost::asio::io_context io;
    avirt::event_loop loop{io};
    io.run();
    return loop.is_idle() ? 0 : 1;
}
