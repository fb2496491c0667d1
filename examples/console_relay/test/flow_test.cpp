// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include "../relay.hpp"
#include "support/loop_fixture.hpp"
#include "support/packet_proxy.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace relay_test {
namespace {

/// Takes output slowly, and checks that the relay waits for that.
class slow_sink : public sink
{
public:
    explicit slow_sink(asio::any_io_executor executor) : timer_(executor) {}

    asio::awaitable<bool> write(std::string_view output) override
    {
        BOOST_TEST_INFO("the relay wrote again before the last output was taken");
        BOOST_TEST(!is_writing_);
        is_writing_ = true;
        do {
            timer_.expires_after(std::chrono::milliseconds(5));
            co_await timer_.async_wait(asio::use_awaitable);
        } while (taken.empty() && !may_take_first());
        taken += output;
        is_writing_ = false;
        co_return true;
    }

    std::string taken;
    std::function<bool()> may_take_first = [] { return true; };

private:
    asio::steady_timer timer_;
    bool is_writing_ = false;
};

/// The daemon comes first, so that its own connection does not use the loop.
struct flow_fixture
{
    daemon& guests = daemon::instance();
    support::loop_fixture on;
};

} // namespace

BOOST_AUTO_TEST_SUITE(relay_flow)

BOOST_FIXTURE_TEST_CASE(the_relay_reads_only_what_is_taken, flow_fixture)
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
    on.run_until([&] { return output->taken.size() > 50000; });

    guests.destroy("flood");
    on.run_until([&] { return is_over; });
}

BOOST_FIXTURE_TEST_CASE(a_slow_sink_gets_what_it_missed_and_all_that_follows, flow_fixture)
{
    wiretap tap;
    guests.on_guest({}, "flood");
    auto& io = on.io;
    avirt::connection connection{io};
    relay console{io.get_executor()};
    const auto output = std::make_shared<slow_sink>(io.get_executor());
    const auto flood = [&]() -> asio::awaitable<void> {
        co_await connection.async_open(tap.proxy.uri());
        co_await console.open(connection, avirt::console{"flood"});
        co_await console.run();
        co_await console.close();
    };
    bool is_over = false;
    asio::co_spawn(io, flood(), [&](std::exception_ptr) { is_over = true; });
    on.run_until([&] { return tap.seen().size() > 50000; });

    // The daemon sends more meanwhile, until it notices that the relay reads nothing.
    output->may_take_first = [&tap, unchanged = 0, seen = std::size_t(0)]() mutable {
        const auto before = std::exchange(seen, tap.seen().size());
        unchanged = seen == before ? unchanged + 1 : 0;
        return unchanged >= 20 || seen > 100000;
    };
    asio::co_spawn(io, console.attach(output), asio::detached);
    on.run_until([&] { return output->taken.size() > 50000; });
    BOOST_TEST(tap.seen().find(output->taken) != std::string::npos);

    guests.destroy("flood");
    on.run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_CASE(pace_of_input)
{
    using namespace std::chrono_literals;
    const auto start = pacing::clock::now();
    pacing pace;
    for (int i = 0; i < 4096; ++i) {
        BOOST_TEST((pace.next() <= start));
        pace.sent(1, start);
    }
    for (int i = 0; i < 4; ++i) {
        BOOST_TEST((pace.next() <= start + i * 1s));
        pace.sent(1, start + i * 1s);
    }
    BOOST_TEST((pace.next() == pacing::clock::time_point::max()));
    BOOST_TEST(!pace.is_stalled(start + 12s));
    BOOST_TEST(pace.is_stalled(start + 13s));
    BOOST_TEST(!pace.is_overdone());
    pace.sent(1, start + 13s);
    BOOST_TEST(pace.is_overdone());

    pace.heard();
    BOOST_TEST(!pace.is_stalled(start + 13s));
    BOOST_TEST((pace.next() <= start));
    pace.sent(4097, start);
    BOOST_TEST(!pace.is_overdone());
    BOOST_TEST((pace.next() == start + 1s));
}

BOOST_AUTO_TEST_CASE(a_paste_that_the_guest_does_not_take)
{
    constexpr std::size_t paste = 40000;
    daemon guests;
    std::mutex mutex;
    std::vector<std::size_t> packets; // the sizes of the packets with input
    support::packet_proxy proxy(guests.libvirtd().socket(), [&](const support::packet_proxy::packet& p) {
        const std::lock_guard guard(mutex);
        if (p.from_client && p.is_stream_data())
            packets.push_back(p.payload.size());
        return support::packet_proxy::verdict::pass;
    });
    relay_program relay(guests.on_guest({}, "echo", proxy.uri()), relay_program::terminal());
    relay.errors(" leaves.");
    relay.type("there?\r");
    relay.output("there?\r\n");
    guests.suspend();
    {
        const std::lock_guard guard(mutex);
        packets.clear();
    }
    relay.type(std::string(paste, 'x'));
    wait_until("all input is sent", [&] {
        const std::lock_guard guard(mutex);
        std::size_t sent = 0;
        for (const auto size : packets)
            sent += size;
        return sent == paste;
    });
    // The console has room for the first 4 KiB; libvirtd drops a connection on which five packets wait.
    {
        const std::lock_guard guard(mutex);
        std::size_t room = 4096;
        const auto waiting = std::ranges::count_if(packets, [&](auto size) {
            room -= std::min(size, room);
            return room == 0;
        });
        BOOST_TEST(waiting <= 4);
    }
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
