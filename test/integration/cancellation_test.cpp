// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/cancellation_types.hpp>
#include <support/gate.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/data/test_case.hpp>

namespace {

namespace data = boost::unit_test::data;
using asio::cancellation_type;

/// A pool of one thread. While that thread is blocked, nothing that needs a thread begins.
struct stuck_fixture : operations_fixture
{
    stuck_fixture() : operations_fixture({.max_threads = 1}) {}

    ~stuck_fixture()
    {
        gate.open();
        other.close();
    }

    void block_the_pool()
    {
        outcome opened;
        other.async_open("test:///default", opened.handler());
        run_until_done(opened);
        other.async_call(gate.entry(), call.handler());
        run_until([&] { return gate.arrived() == 1; });
    }

    template <class Launch>
    void cancels(Launch launch, cancellation_type type)
    {
        outcome o;
        asio::cancellation_signal signal;
        launch(asio::bind_cancellation_slot(signal.slot(), o.handler()));
        io.restart();
        io.poll();
        BOOST_TEST(o.calls() == 0);
        signal.emit(type);
        BOOST_TEST(o.calls() == 0);
        check_result(o, aborted);
        signal.emit(type);
        io.restart();
        io.poll();
        BOOST_TEST(o.calls() == 1);
    }

    support::gate gate;
    outcome call;
    avirt::connection other{io};
};

BOOST_FIXTURE_TEST_SUITE(cancellation, stuck_fixture)

BOOST_DATA_TEST_CASE(connection_open, data::make(support::every_cancellation_type), type)
{
    block_the_pool();
    cancels([&](auto token) { conn.async_open("test:///default", std::move(token)); }, type);
    BOOST_TEST(!conn.is_open());
    gate.open();
    open_connection();
}

BOOST_DATA_TEST_CASE(stream_open, data::make(support::every_cancellation_type), type)
{
    open_connection();
    block_the_pool();
    const avirt::screenshot opener{"test"};
    cancels([&](auto token) { stream.async_open(conn, opener, std::move(token)); }, type);
    BOOST_TEST(!stream.is_open());
}

BOOST_DATA_TEST_CASE(a_call_that_has_not_begun, data::make(support::every_cancellation_type), type)
{
    open_connection();
    block_the_pool();
    bool ran = false;
    cancels([&](auto token) { conn.async_call([&](virConnectPtr) { ran = true; }, std::move(token)); }, type);
    gate.open();
    run_until_done(call);
    outcome next;
    conn.async_call([](virConnectPtr) {}, next.handler());
    check_result(next);
    BOOST_TEST(!ran);
}

BOOST_DATA_TEST_CASE(
    a_call_queued_behind_another_on_its_connection, data::make(support::every_cancellation_type), type)
{
    block_the_pool();
    bool ran = false;
    cancels(
        [&](auto token) { other.async_call([&](virConnectPtr) { ran = true; }, std::move(token)); }, type);
    gate.open();
    check_result(call);
    outcome next;
    other.async_call([](virConnectPtr) {}, next.handler());
    run_until_done(next);
    BOOST_TEST(!ran);
}

BOOST_DATA_TEST_CASE(drain, data::make(support::every_cancellation_type), type)
{
    block_the_pool();
    cancels([&](auto token) { loop.async_drain(std::move(token)); }, type);
}

BOOST_AUTO_TEST_CASE(one_drain_of_several)
{
    block_the_pool();
    outcome first;
    outcome third;
    loop.async_drain(first.handler());
    cancels([&](auto token) { loop.async_drain(std::move(token)); }, cancellation_type::total);
    loop.async_drain(third.handler());
    io.poll();
    BOOST_TEST(first.calls() + third.calls() == 0);
    gate.open();
    run_until_done(call);
    other.close();
    run_until_done(first);
    run_until_done(third);
    check(first, {});
    check(third, {});
}

BOOST_DATA_TEST_CASE(read, data::make(support::every_cancellation_type), type)
{
    open_stream();
    outcome o;
    asio::cancellation_signal signal;
    stream.async_read_some(asio::buffer(memory), asio::bind_cancellation_slot(signal.slot(), o.handler()));
    signal.emit(type);
    BOOST_TEST(o.calls() == 0);
    check_result(o, aborted);
    BOOST_TEST(stream.is_open());
    outcome next;
    stream.async_read_some(asio::buffer(memory), next.handler());
    signal.emit(type); // Too late: the signal must not cancel the next read.
    check_result(next);
    BOOST_TEST(next.bytes() > 0u);
}

BOOST_DATA_TEST_CASE(wait, data::make(support::every_cancellation_type), type)
{
    open_stream();
    cancels([&](auto token) { stream.async_wait(wait_type::write, std::move(token)); }, type);
    BOOST_TEST(stream.is_open());
}

BOOST_DATA_TEST_CASE(connection_close, data::make(support::every_cancellation_type), type)
{
    open_connection();
    outcome o;
    asio::cancellation_signal signal;
    conn.async_close(asio::bind_cancellation_slot(signal.slot(), o.handler()));
    signal.emit(type);
    run_until_done(o);
    // The close may complete before the cancellation takes effect.
    BOOST_TEST((o.ec() == aborted || !o.ec()));
    BOOST_TEST(!conn.is_open());
    open_connection();
}

BOOST_AUTO_TEST_CASE(a_running_call_goes_on_after_partial_cancellation)
{
    open_connection();
    support::gate running;
    outcome o;
    asio::cancellation_signal signal;
    auto held = std::make_shared<int>();
    const std::weak_ptr<int> result = held;
    conn.async_call(
        [pass = running.entry(), held = std::move(held)](virConnectPtr c) mutable {
            pass(c);
            return std::move(held);
        },
        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::shared_ptr<int> r) {
            BOOST_TEST(!r);
            o.handler()(ec);
        }));
    run_until([&] { return running.arrived() == 1; });
    signal.emit(cancellation_type::total);
    io.restart();
    io.poll();
    BOOST_TEST(o.calls() == 0);
    signal.emit(cancellation_type::partial);
    check_result(o, aborted);
    BOOST_TEST(loop.stats().running_calls == 0u);
    BOOST_TEST(loop.stats().abandoned_calls == 1u);
    support::run_to_end(io); // run() does not wait for the call.
    BOOST_TEST(!result.expired());
    running.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0 && result.expired(); }));
    outcome next;
    conn.async_call(virConnectNumOfDomains, next.handler());
    check_result(next);
    BOOST_TEST(o.calls() == 1);
}

BOOST_AUTO_TEST_CASE(a_running_call_ends_at_terminal_cancellation_but_not_at_total)
{
    open_connection();
    support::gate running;
    outcome o;
    asio::cancellation_signal signal;
    conn.async_call(running.entry(7), asio::bind_cancellation_slot(signal.slot(), o.handler()));
    run_until([&] { return running.arrived() == 1; });
    signal.emit(cancellation_type::total);
    io.restart();
    io.poll();
    BOOST_TEST(o.calls() == 0);
    signal.emit(cancellation_type::terminal);
    check_result(o, aborted);
    BOOST_TEST(o.bytes() == 0u); // The call's thread still owns its result.
    BOOST_TEST(loop.stats().abandoned_calls == 1u);
    BOOST_TEST(loop.stats().running_calls == 0u);
    running.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
    outcome next;
    conn.async_call(virConnectNumOfDomains, next.handler());
    check_result(next);
    BOOST_TEST(o.calls() == 1);
}

BOOST_AUTO_TEST_CASE(emitted_between_completion_and_invocation)
{
    make_readable();
    outcome o;
    asio::cancellation_signal signal;
    stream.async_read_some(asio::buffer(memory), asio::bind_cancellation_slot(signal.slot(), o.handler()));
    signal.emit(cancellation_type::terminal);
    check_result(o); // Received data is not lost.
    BOOST_TEST(o.bytes() == memory.size());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(late_emits_of_every_type_are_harmless)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        asio::cancellation_signal signal;
        op.launch(r, asio::bind_cancellation_slot(signal.slot(), o.handler()));
        r.run_until_done(o);
        r.stream.close();
        r.conn.close();
        for (auto type : support::every_cancellation_type)
            signal.emit(type);
        support::run_to_end(r.io);
        r.check(o, {});
        r.conn = avirt::connection(r.io);
        r.stream = avirt::async_stream(r.io);
        for (auto type : support::every_cancellation_type)
            signal.emit(type);
    });
}

} // namespace
