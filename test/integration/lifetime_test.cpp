// SPDX-License-Identifier: BSL-1.0

// Checks that loop, context, connection and stream can be destroyed in every order, with operations pending,
// without crashes or leaks. LeakSanitizer finds leaked memory, /proc/self/fd leaked files.

#include "support/eventually.hpp"
#include "support/gate.hpp"
#include "support/loop_fixture.hpp"
#include "support/open_files.hpp"

#include <avirt/avirt.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

/// Context, loop, connection and stream, each of which can be destroyed on its own.
struct world
{
    std::optional<asio::io_context> io{std::in_place};
    std::optional<avirt::event_loop> loop{std::in_place, *io};
    std::optional<avirt::connection> conn{std::in_place, *io};
    std::optional<avirt::async_stream> stream{std::in_place, *io};
    char buffer[64] = {};
    int completed = 0;

    void open()
    {
        error_code failed = asio::error::would_block;
        conn->async_open("test:///default", [&](error_code ec) { failed = ec; });
        support::run_until(*io, [&] { return failed != asio::error::would_block; });
        BOOST_REQUIRE_EQUAL(failed, error_code());
        failed = asio::error::would_block;
        stream->async_open(*conn, avirt::screenshot{"test"}, [&](error_code ec) { failed = ec; });
        support::run_until(*io, [&] { return failed != asio::error::would_block; });
        BOOST_REQUIRE_EQUAL(failed, error_code());
    }

    /// Starts one operation of each kind, as far as they can be pending together. Results are ignored.
    void start_operations()
    {
        const auto count = [this](auto...) { ++completed; };
        stream->async_read_some(asio::buffer(buffer), count);
        stream->async_wait(avirt::async_stream::wait_type::error, count);
        conn->async_call(virConnectNumOfDomains, count);
        conn->async_call(
            [](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "test")); }, count);
        loop->async_drain(count);
    }

    void end(int which)
    {
        switch (which) {
        case 0:
            return io.reset();
        case 1:
            return loop.reset();
        case 2:
            return conn.reset();
        default:
            return stream.reset();
        }
    }
};

/// A coroutine that owns its objects, and is suspended in the middle of an operation.
asio::awaitable<void> suspended(asio::io_context& io, int where, bool& is_open)
{
    avirt::connection conn{io};
    co_await conn.async_open("test:///default", asio::use_awaitable);
    avirt::screenshot shot{"test"};
    avirt::async_stream stream{io};
    co_await stream.async_open(conn, shot, asio::use_awaitable);
    is_open = true;
    if (where == 0) { // Never completes: nothing is written to this stream.
        co_await stream.async_wait(avirt::async_stream::wait_type::error, asio::use_awaitable);
    }
    char buffer[64];
    for (;;) {
        if (where == 1)
            co_await conn.async_call(virConnectNumOfDomains, asio::use_awaitable);
        else
            co_await stream.async_read_some(asio::buffer(buffer), asio::use_awaitable);
    }
}

template <class Body>
void leaves_no_file(Body body)
{
    body(); // libvirt opens some files once, and keeps them open.
    const auto before = support::open_files();
    body();
    BOOST_TEST(support::eventually([&] { return support::open_files() <= before; }));
}

} // namespace

BOOST_AUTO_TEST_SUITE(lifetime)

BOOST_AUTO_TEST_CASE(every_order_with_operations_pending)
{
    std::array order{0, 1, 2, 3};
    do {
        for (const bool has_begun : {false, true}) {
            BOOST_TEST_CONTEXT(order[0] << order[1] << order[2] << order[3] << " begun " << has_begun)
            leaves_no_file([&] {
                world w;
                w.open();
                w.start_operations();
                if (has_begun)
                    w.io->poll();
                for (const int which : order)
                    w.end(which);
            });
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(every_order_at_rest)
{
    std::array order{0, 1, 2, 3};
    do {
        leaves_no_file([&] {
            world w;
            w.open();
            for (const int which : order)
                w.end(which);
        });
    } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(every_order_while_opening)
{
    std::array order{0, 1, 2, 3};
    do {
        leaves_no_file([&] {
            world w;
            w.conn->async_open("test:///default", [](error_code) {});
            for (const int which : order)
                w.end(which);
        });
    } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(a_suspended_coroutine_ends_with_its_context)
{
    for (const int where : {0, 1, 2}) {
        for (const bool loop_ends_first : {false, true}) {
            leaves_no_file([&] {
                std::optional<asio::io_context> io(std::in_place);
                std::optional<avirt::event_loop> loop(std::in_place, *io);
                bool is_open = false;
                asio::co_spawn(*io, suspended(*io, where, is_open), asio::detached);
                support::run_until(*io, [&] { return is_open; });
                if (loop_ends_first)
                    loop.reset();
                io.reset();
            });
        }
    }
}

BOOST_AUTO_TEST_CASE(coroutines_on_a_strand_end_with_its_context)
{
    leaves_no_file([] {
        support::gate gate;
        world w;
        w.open();
        // avirt must create the strand's service before its own: services are destroyed in reverse order.
        std::optional strand(asio::make_strand(*w.io));
        avirt::connection* shared = nullptr;
        const auto owner = [&]() -> asio::awaitable<void> {
            avirt::connection conn{*strand};
            co_await conn.async_open("test:///default", asio::use_awaitable);
            shared = &conn;
            asio::signal_set signals(*strand, SIGUSR1); // Its service destroys pending waits itself.
            co_await signals.async_wait(asio::use_awaitable);
        };
        bool calls = false;
        const auto user = [&]() -> asio::awaitable<void> {
            avirt::event_source<avirt::domain_lifecycle> source{*shared};
            co_await source.async_subscribe(asio::use_awaitable);
            calls = true;
            const auto stuck = gate.entry();
            co_await shared->async_call(stuck, asio::use_awaitable);
        };
        asio::co_spawn(*strand, owner(), asio::detached);
        support::run_until(*w.io, [&] { return shared != nullptr; });
        asio::co_spawn(*strand, user(), asio::detached);
        support::run_until(*w.io, [&] { return calls; });
        strand.reset(); // A strand must not outlive its context.
        w.io.reset();
        gate.open();
    });
}

// The call goes on when its connection is destroyed, and must not use the executor of the context afterwards.
BOOST_AUTO_TEST_CASE(a_call_outlives_its_connection_and_its_context)
{
    asio::io_context io;
    const avirt::event_loop loop{io};
    support::gate g;
    auto context = std::make_unique<asio::io_context>();
    std::optional<avirt::connection> conn(std::in_place, asio::make_strand(*context));
    bool is_open = false;
    conn->async_open("test:///default", [&](error_code ec) { is_open = !ec; });
    support::run_until(io, [&] {
        context->restart();
        context->poll();
        return is_open;
    });
    conn->async_call(g.entry(), [](error_code, int) {});
    BOOST_REQUIRE(support::eventually([&] { return g.arrived() == 1; }));
    conn.reset();
    context.reset();
    g.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
}

BOOST_AUTO_TEST_CASE(the_next_loop_takes_over)
{
    leaves_no_file([] {
        asio::io_context first;
        std::optional<avirt::event_loop> loop(std::in_place, first);
        std::optional<error_code> result;
        asio::io_context io;
        avirt::connection conn(io);
        conn.async_open("test:///default", [&](error_code ec) { result = ec; });
        support::run_until(io, [&] { return result.has_value(); });
        BOOST_REQUIRE_EQUAL(*result, error_code());
        result.reset();
        avirt::async_stream stream(io);
        stream.async_open(conn, avirt::screenshot{"test"}, [&](error_code ec) { result = ec; });
        support::run_until(io, [&] { return result.has_value(); });

        char buffer[64];
        std::optional<error_code> read;
        stream.async_read_some(asio::buffer(buffer), [&](error_code ec, std::size_t) { read = ec; });
        loop.reset();
        loop.emplace(io); // The watch was registered with the first loop.
        support::run_until(io, [&] { return read.has_value(); });
        BOOST_TEST(*read == error_code());
    });
}

BOOST_AUTO_TEST_SUITE_END()
