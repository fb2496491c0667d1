// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <avirt/cancel_after.hpp>
#include <support/cancellation_types.hpp>
#include <support/token_adapters.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/data/test_case.hpp>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

// A timeout of one nanosecond has expired whenever it is checked; a timeout of one hour never expires.

namespace {

namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using asio::cancellation_type;

BOOST_AUTO_TEST_SUITE(cancel_after_of_every_signature)

BOOST_AUTO_TEST_CASE(does_not_fire)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, avirt::cancel_after(1h, o.handler()));
        BOOST_TEST(!o);
        r.check_result(o);
        r.stream.close();
        r.conn.close();
        support::run_to_end(r.io); // does not return while a timer runs
    });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(cancel_after, operations_fixture)

BOOST_AUTO_TEST_CASE(fires)
{
    open_stream();
    outcome o;
    stream.async_wait(wait_type::write, avirt::cancel_after(1ns, o.handler()));
    BOOST_TEST(!o);
    check_result(o, aborted);
    BOOST_TEST(stream.is_open());
    outcome waited;
    asio::steady_timer timer(io, 1h);
    timer.async_wait(avirt::cancel_after(1ns, waited.handler()));
    check_result(waited, aborted);
}

BOOST_AUTO_TEST_CASE(invokes_the_handler_when_operation_and_timer_have_ended)
{
    asio::io_context own;
    outcome o;
    asio::post(own, avirt::cancel_after(1h, [note = o.handler()] { note({}); }));
    own.run_one();
    BOOST_TEST(!o);
    own.run_one();
    BOOST_TEST(o.calls() == 1);
    BOOST_TEST(own.run() == 0u);
}

/// An operation that ends only when it is cancelled.
struct never_ending
{
    using executor_type = asio::io_context::executor_type;

    executor_type get_executor() const noexcept
    {
        return executor;
    }

    template <class Handler>
    void operator()(Handler handler) const
    {
        const auto kept = std::make_shared<Handler>(std::move(handler));
        auto slot = asio::get_associated_cancellation_slot(*kept);
        BOOST_TEST_REQUIRE(slot.is_connected());
        slot.assign([kept, slot, ex = executor, s = seen](cancellation_type type) {
            asio::post(ex, [kept, slot, s, type]() mutable {
                *s = type;
                slot.clear();
                Handler own(std::move(*kept));
                std::move(own)(error_code(aborted));
            });
        });
    }

    executor_type executor;
    std::optional<cancellation_type>* seen;
};

template <class Token>
auto async_never(asio::io_context& io, std::optional<cancellation_type>& seen, Token&& token)
{
    return asio::async_initiate<Token, void(error_code)>(never_ending{io.get_executor(), &seen}, token);
}

BOOST_AUTO_TEST_CASE(is_terminal_by_default)
{
    std::optional<cancellation_type> seen;
    outcome o;
    async_never(io, seen, avirt::cancel_after(1ns, o.handler()));
    run_until_done(o);
    BOOST_TEST((seen == cancellation_type::terminal));
}

BOOST_DATA_TEST_CASE(is_of_the_type_given, data::make(support::every_cancellation_type), type)
{
    std::optional<cancellation_type> seen;
    outcome o;
    async_never(io, seen, avirt::cancel_after(1ns, type, o.handler()));
    run_until_done(o);
    BOOST_TEST((seen == type));
}

BOOST_DATA_TEST_CASE(passes_a_cancellation_on, data::make(support::every_cancellation_type), type)
{
    const auto launch = [&](auto bind) {
        std::optional<cancellation_type> seen;
        outcome o;
        asio::cancellation_signal signal;
        async_never(io, seen, bind(signal.slot(), o.handler()));
        io.restart();
        io.poll();
        BOOST_TEST(!o);
        signal.emit(type);
        BOOST_TEST(!o);
        check_result(o, aborted);
        BOOST_TEST((seen == type));
        signal.emit(type);
        io.restart();
        io.poll();
        BOOST_TEST(o.calls() == 1);
    };
    launch([](auto slot, auto handler) {
        return asio::bind_cancellation_slot(slot, avirt::cancel_after(1h, handler));
    });
    launch([](auto slot, auto handler) {
        return avirt::cancel_after(1h, asio::bind_cancellation_slot(slot, handler));
    });
}

BOOST_AUTO_TEST_CASE(fires_with_a_slot_that_is_bound_inside)
{
    asio::cancellation_signal signal;
    std::optional<cancellation_type> seen;
    outcome o;
    async_never(io, seen, avirt::cancel_after(1ns, asio::bind_cancellation_slot(signal.slot(), o.handler())));
    run_until_done(o);
    BOOST_TEST((seen == cancellation_type::terminal));
}

BOOST_AUTO_TEST_CASE(tokens_throw)
{
    asio::steady_timer timer(io, 1h);
    auto f = timer.async_wait(avirt::cancel_after(1ns, asio::use_future));
    run_until([&] { return f.wait_for(0s) == std::future_status::ready; });
    BOOST_CHECK_EXCEPTION(
        f.get(), boost::system::system_error, [](const auto& e) { return e.code() == aborted; });
}

BOOST_AUTO_TEST_CASE(in_coroutines)
{
    open_stream();
    bool is_over = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const auto [ec] = co_await stream.async_wait(
                wait_type::write, avirt::cancel_after(1ns, asio::as_tuple(asio::use_awaitable)));
            BOOST_TEST(ec == aborted);
            const auto [also] = co_await stream.async_wait(
                wait_type::write, asio::as_tuple(avirt::cancel_after(1ns, asio::use_awaitable)));
            BOOST_TEST(also == aborted);
            try {
                co_await stream.async_wait(wait_type::write, avirt::cancel_after(1ns, asio::deferred));
                BOOST_ERROR("not cancelled");
            }
            catch (const boost::system::system_error& e) {
                BOOST_TEST(e.code() == aborted);
            }
            const int domains = co_await conn.async_call(
                virConnectNumOfDomains, avirt::cancel_after(1h, asio::use_awaitable));
            BOOST_TEST(domains == 1);
            // An object with a default token: an explicit token takes precedence.
            auto timer = asio::use_awaitable_t<>::as_default_on(asio::steady_timer(io, 1h));
            const auto [waited] =
                co_await timer.async_wait(avirt::cancel_after(1ns, asio::as_tuple(asio::deferred)));
            BOOST_TEST(waited == aborted);
        },
        [&](std::exception_ptr e) { is_over = !e; });
    run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_CASE(through_a_composed_operation)
{
    open_stream();
    std::string text;
    outcome o;
    asio::async_read(stream, asio::dynamic_buffer(text), avirt::cancel_after(1h, o.handler()));
    check_result(o, asio::error::eof);
    BOOST_TEST(o.bytes() == 33443u);

    asio::local::stream_protocol::socket ours(io);
    asio::local::stream_protocol::socket theirs(io);
    asio::local::connect_pair(ours, theirs);
    theirs.write_some(asio::buffer("1234", 4));
    std::array<char, 8> some{};
    outcome read;
    asio::async_read(ours, asio::buffer(some), avirt::cancel_after(1ms, read.handler()));
    check_result(read, aborted);
    BOOST_TEST(read.bytes() <= 4u);
}

BOOST_AUTO_TEST_CASE(keeps_executor_and_allocator)
{
    open_stream();
    const auto strand = asio::make_strand(io);
    int allocated = 0;
    const auto launch = [&](std::chrono::nanoseconds timeout, wait_type type) {
        bool in_strand = false;
        int left = -1;
        outcome o;
        const auto handler = [&, note = o.handler()](error_code ec) {
            in_strand = strand.running_in_this_thread();
            left = allocated;
            note(ec);
        };
        stream.async_wait(
            type,
            avirt::cancel_after(
                timeout,
                asio::bind_executor(
                    strand, asio::bind_allocator(support::counting_allocator<void*>(allocated), handler))));
        BOOST_TEST(allocated > 0);
        run_until_done(o);
        BOOST_TEST(in_strand);
        BOOST_TEST(left == 0);
    };
    launch(1ns, wait_type::write);
    launch(1h, wait_type::read);
}

BOOST_AUTO_TEST_CASE(deferred_and_launched_twice)
{
    asio::steady_timer timer(io, 1h);
    outcome first;
    outcome second;
    {
        const auto op = timer.async_wait(avirt::cancel_after(1ns, asio::deferred));
        const auto copy = op;
        op(first.handler());
        copy(second.handler());
    }
    run_until([&] { return first && second; });
    check(first, aborted);
    check(second, aborted);
    auto later = timer.async_wait(asio::deferred);
    outcome third;
    std::move(later)(avirt::cancel_after(1ns, third.handler()));
    check_result(third, aborted);
}

BOOST_AUTO_TEST_CASE(combines_with_with_details)
{
    open_connection();
    const avirt::screenshot opener{"nobody"};
    avirt::error_details inside;
    outcome o;
    stream.async_open(conn, opener, avirt::cancel_after(1h, avirt::with_details(o.handler(), inside)));
    run_until_done(o);
    BOOST_TEST(o.ec() == avirt::condition::not_found);
    BOOST_TEST(inside.code == int{VIR_ERR_NO_DOMAIN});
    avirt::error_details outside;
    outcome second;
    stream.async_open(conn, opener, avirt::with_details(avirt::cancel_after(1h, second.handler()), outside));
    run_until_done(second);
    BOOST_TEST(outside.message == inside.message);
}

BOOST_AUTO_TEST_CASE(is_destroyed_with_its_context)
{
    const auto held = std::make_shared<int>(0);
    asio::cancellation_signal signal;
    {
        asio::io_context own;
        asio::steady_timer timer(own, 1h);
        timer.async_wait(avirt::cancel_after(
            1h, asio::bind_cancellation_slot(signal.slot(), [held](error_code) { BOOST_ERROR("invoked"); })));
        own.poll();
        asio::co_spawn(
            own,
            [&, held]() -> asio::awaitable<void> {
                asio::steady_timer other(own, 1h);
                co_await other.async_wait(avirt::cancel_after(1h, asio::use_awaitable));
                (void)held;
            },
            [held](std::exception_ptr) { BOOST_ERROR("the coroutine completed"); });
        own.poll();
        BOOST_TEST(held.use_count() > 2);
    }
    BOOST_TEST(held.use_count() == 1);
#if BOOST_ASIO_VERSION < 103200
    signal.emit(cancellation_type::terminal); // Asio's own cancel_after does not survive this
#endif
}

#if BOOST_ASIO_VERSION < 103200
struct failing_initiation
{
    using executor_type = asio::io_context::executor_type;

    executor_type get_executor() const noexcept
    {
        return executor;
    }

    template <class Handler>
    void operator()(Handler&&) const
    {
        throw std::runtime_error("the operation cannot be launched");
    }

    executor_type executor;
};

BOOST_AUTO_TEST_CASE(an_initiation_that_throws_leaves_no_timer)
{
    asio::io_context own;
    const auto token = avirt::cancel_after(1h, [](error_code) { BOOST_ERROR("invoked"); });
    BOOST_CHECK_THROW(
        (asio::async_initiate<decltype(token), void(error_code)>(
            failing_initiation{own.get_executor()}, token)),
        std::runtime_error);
    own.run();
}
#endif

BOOST_AUTO_TEST_SUITE_END()

} // namespace
