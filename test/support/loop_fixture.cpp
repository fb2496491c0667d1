// SPDX-License-Identifier: BSL-1.0
#include "loop_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <stdexcept>
#include <thread>

namespace support {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto limit = 60s;

} // namespace

void run_until(boost::asio::io_context& io, const std::function<bool()>& done)
{
    const auto end = clock::now() + limit;
    while (!done()) {
        if (clock::now() >= end)
            throw std::runtime_error("what the test waits for did not happen in time");
        io.restart();
        io.run_one_for(1ms);
    }
}

void run_to_end(boost::asio::io_context& io)
{
    io.restart();
    io.run_for(limit);
    if (!io.stopped())
        throw std::runtime_error("run() did not return in time");
}

loop_fixture::loop_fixture(avirt::event_loop_options options) : loop(io, std::move(options)) {}

loop_fixture::~loop_fixture()
{
    BOOST_CHECK_NO_THROW(run_to_end(io));
    // An abandoned call in an in-process driver may still register something, which it removes again.
    BOOST_TEST(eventually([this] { return loop.stats().abandoned_calls == 0; }));
    BOOST_CHECK_NO_THROW(run_to_end(io));
    BOOST_TEST(loop.is_idle());
}

} // namespace support
