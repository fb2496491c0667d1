// SPDX-License-Identifier: BSL-1.0
#include "relay_test_daemon.hpp"
#include "relay_test_program.hpp"

#include "../../examples/console_relay/relay.hpp"
#include "support/loop_fixture.hpp"

#include <boost/test/unit_test.hpp>

namespace relay_test {
namespace {

/// Takes its time.
class slow_sink : public sink
{
public:
    explicit slow_sink(asio::any_io_executor executor) : timer_(executor) {}

    asio::awaitable<void> write(std::string_view output) override
    {
        BOOST_TEST(!is_writing_, "the relay reads on while the last output is not taken");
        is_writing_ = true;
        timer_.expires_after(std::chrono::milliseconds(5));
        co_await timer_.async_wait(asio::use_awaitable);
        taken += output.size();
        is_writing_ = false;
    }

    std::size_t taken = 0;

private:
    asio::steady_timer timer_;
    bool is_writing_ = false;
};

/// The daemon is there first: its connection has no use for the loop.
struct flow_fixture
{
    daemon& guests = daemon::instance();
    support::loop_fixture on;
};

} // namespace

BOOST_AUTO_TEST_SUITE(relay_flow)

BOOST_FIXTURE_TEST_CASE(nothing_is_read_that_is_not_taken, flow_fixture)
{
    guests.on_guest({}, "flood");
    auto& io = on.io;
    avirt::connection connection{io};
    relay console{io.get_executor()};
    const auto output = std::make_shared<slow_sink>(io.get_executor());
    const auto flood = [&]() -> asio::awaitable<void> {
        co_await connection.async_open(guests.uri());
        co_await console.open(connection, avirt::console{"flood"});
        co_await console.attach(output);
        co_await console.run();
        co_await console.close();
    };
    bool is_over = false;
    asio::co_spawn(io, flood(), [&](std::exception_ptr) { is_over = true; });
    on.run_until([&] { return output->taken > 50000; });

    guests.destroy("flood");
    on.run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
