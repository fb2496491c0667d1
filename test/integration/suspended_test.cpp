// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/gate.hpp>
#include <support/open_files.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/test_case.hpp>

#include <memory>
#include <optional>

// A context is destroyed while a coroutine, whose frame owns the objects, is suspended on an operation: the
// frame must be destroyed with the context, and nothing may remain.

namespace {

namespace data = boost::unit_test::data;

enum operation_kind { open, call, queued_call, close, drain, stream_open, read, wait, finish, abort, kinds };

/// The parts of a program, any of which may end first.
struct world
{
    std::optional<asio::io_context> io{std::in_place};
    std::optional<avirt::event_loop> loop{std::in_place, *io};
    support::gate gate;
    std::shared_ptr<int> held = std::make_shared<int>();
    bool has_started = false;

    asio::awaitable<void> session(operation_kind kind, std::shared_ptr<int>)
    {
        avirt::connection conn(*io);
        avirt::async_stream stream(*io);
        const avirt::screenshot picture{"test"};
        std::array<char, 100> memory{};
        if (kind != open)
            co_await conn.async_open("test:///default", asio::use_awaitable);
        if (kind >= read)
            co_await stream.async_open(conn, picture, asio::use_awaitable);
        has_started = true;
        const auto entry = gate.entry();
        const auto blocked = [pass = entry](virConnectPtr, virStreamPtr) { return pass(); };
        switch (kind) {
        case open:
            co_await conn.async_open("test:///default", asio::use_awaitable);
            break;
        case call:
            co_await conn.async_call(entry, asio::use_awaitable);
            break;
        case queued_call:
            conn.async_call(gate.entry(), asio::detached);
            co_await conn.async_call(entry, asio::use_awaitable);
            break;
        case close:
            co_await conn.async_close(asio::use_awaitable);
            break;
        case drain:
            conn.async_call(gate.entry(), asio::detached);
            co_await loop->async_drain(asio::use_awaitable);
            break;
        case stream_open:
            co_await stream.async_open(conn, blocked, asio::use_awaitable);
            break;
        case read:
            co_await stream.async_read_some(asio::buffer(memory), asio::use_awaitable);
            break;
        case wait:
            co_await stream.async_wait(wait_type::write, asio::use_awaitable);
            break;
        case finish:
            co_await stream.async_finish(asio::use_awaitable);
            break;
        default:
            co_await stream.async_abort(asio::use_awaitable);
            break;
        }
    }

    /// Runs until the coroutine has started the operation. A quick operation may have completed by then, but
    /// its handler has not run.
    void suspend(operation_kind kind)
    {
        asio::co_spawn(*io, session(kind, held), asio::detached);
        support::run_until(*io, [this] { return has_started; });
        BOOST_TEST(held.use_count() == 2);
    }
};

/// The number of open files after libvirt and Asio have opened those that they keep.
std::size_t files_at_rest()
{
    static const std::size_t n = [] {
        operations_fixture().open_stream();
        return support::open_files();
    }();
    return n;
}

BOOST_AUTO_TEST_SUITE(suspended)

BOOST_DATA_TEST_CASE(
    ends_with_its_context, data::xrange<int>(0, kinds) * data::make({false, true}), kind, loop_first)
{
    const auto files = files_at_rest();
    {
        world w;
        w.suspend(static_cast<operation_kind>(kind));
        if (loop_first)
            w.loop.reset();
        w.io.reset();
        BOOST_TEST(w.held.use_count() == 1);
    }
    BOOST_TEST(support::eventually([&] { return support::open_files() <= files; }));
}

BOOST_DATA_TEST_CASE(continues_under_the_next_loop, data::xrange<int>(0, kinds), kind)
{
    const auto files = files_at_rest();
    {
        world w;
        w.suspend(static_cast<operation_kind>(kind));
        w.loop.reset();
        asio::io_context other;
        avirt::event_loop next(other);
        w.gate.open();
        if (kind == wait) // The wait never completes by itself.
            w.io.reset();
        else
            support::run_until(*w.io, [&] {
                other.restart();
                other.poll();
                return w.held.use_count() == 1;
            });
        BOOST_TEST(w.held.use_count() == 1);
        support::run_to_end(other);
        BOOST_TEST(next.is_idle());
    }
    BOOST_TEST(support::eventually([&] { return support::open_files() <= files; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
