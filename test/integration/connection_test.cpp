// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/gate.hpp>

#include <libvirt/virterror.h>

#include <memory>
#include <optional>

namespace {

/// A pool of one thread, which is busy until end_call().
struct busy_pool : operations_fixture
{
    busy_pool() : operations_fixture({.max_threads = 1})
    {
        outcome opened;
        other.async_open("test:///default", opened.handler());
        run_until_done(opened);
        other.async_call(gate.entry(), called.handler());
        run_until([&] { return gate.arrived() == 1; });
    }

    ~busy_pool()
    {
        end_call();
        other.close();
    }

    void end_call()
    {
        gate.open();
        run_until_done(called);
    }

private:
    support::gate gate;
    avirt::connection other{io};
    outcome called;
};

BOOST_FIXTURE_TEST_SUITE(connection, operations_fixture)

BOOST_AUTO_TEST_CASE(opens_and_closes)
{
    BOOST_TEST(!conn.is_open());
    BOOST_TEST(!conn.native_handle());
    outcome opened;
    conn.async_open("test:///default", opened.handler());
    BOOST_TEST(opened.calls() == 0);
    check_result(opened);
    BOOST_TEST(conn.is_open());
    BOOST_TEST(virConnectNumOfDomains(conn.native_handle()) == 1);
    outcome closed;
    conn.async_close(closed.handler());
    BOOST_TEST(!conn.is_open());
    check_result(closed);
    open_connection();
    BOOST_TEST(conn.is_open());
}

BOOST_AUTO_TEST_CASE(read_only_connections_refuse_changes)
{
    avirt::open_options options{"test:///default"};
    options.read_only = true;
    outcome opened;
    conn.async_open(options, opened.handler());
    run_until_done(opened);
    const avirt::domain vm(virDomainLookupByName(conn.native_handle(), "test"));
    outcome o;
    conn.async_call([&](virConnectPtr) { return virDomainSuspend(vm.get()); }, o.handler());
    run_until_done(o);
    BOOST_TEST(o.ec() == avirt::condition::denied);
}

BOOST_AUTO_TEST_CASE(opened_twice)
{
    open_connection();
    const auto before = conn.native_handle();
    outcome again;
    conn.async_open("test:///default", again.handler());
    BOOST_TEST(!again);
    check_result(again, avirt::error::already_open);
    BOOST_TEST(conn.native_handle() == before);
}

BOOST_FIXTURE_TEST_CASE(opened_while_opening, busy_pool)
{
    outcome first;
    outcome second;
    conn.async_open("test:///default", first.handler());
    conn.async_open("test:///default", second.handler());
    check_result(second, avirt::error::operation_in_progress);
    end_call();
    check_result(first);
    BOOST_TEST(conn.is_open());
}

BOOST_FIXTURE_TEST_CASE(closed_while_opening, busy_pool)
{
    outcome opened;
    outcome closed;
    conn.async_open("test:///default", opened.handler());
    conn.async_close(closed.handler());
    check_result(closed, avirt::error::not_open);
    conn.close();
    BOOST_TEST(!opened);
    check_result(opened, aborted);
    end_call();
    BOOST_TEST(!conn.is_open());
    open_connection();
}

BOOST_FIXTURE_TEST_CASE(destroyed_while_opening, busy_pool)
{
    outcome opened;
    {
        avirt::connection brief(io);
        brief.async_open("test:///default", opened.handler());
    }
    BOOST_TEST(!opened);
    check_result(opened, aborted);
}

BOOST_FIXTURE_TEST_CASE(cancelled_while_opening_and_opened_again_at_once, busy_pool)
{
    outcome first;
    outcome second;
    conn.async_open("test:///default", first.handler());
    conn.cancel();
    conn.async_open("test:///default", second.handler());
    end_call();
    run_until_done(second);
    check(first, aborted);
    check(second, {});
    BOOST_TEST(conn.is_open());
}

BOOST_AUTO_TEST_CASE(closed_twice)
{
    open_connection();
    outcome first;
    outcome second;
    conn.async_close(first.handler());
    conn.async_close(second.handler());
    run_until_done(second);
    // The first close may or may not have completed before the second begins.
    BOOST_TEST((second.ec() == avirt::error::operation_in_progress || second.ec() == avirt::error::not_open));
    check_result(first);
    outcome third;
    conn.async_close(third.handler());
    check_result(third, avirt::error::not_open);
    conn.close();
    conn.cancel();
}

BOOST_AUTO_TEST_CASE(uris_that_cannot_be_opened)
{
    for (const char* uri : {"nonsense:///", "://", "qemu+unknown://host/"}) {
        outcome opened;
        avirt::error_details why;
        conn.async_open(uri, avirt::with_details(opened.handler(), why));
        run_until_done(opened);
        BOOST_TEST(opened.ec().failed());
        BOOST_TEST(!why.message.empty());
        BOOST_TEST(why.code != 0);
        BOOST_TEST(why.level == int{VIR_ERR_ERROR});
        BOOST_TEST(!conn.is_open());
    }
    open_connection();
}

BOOST_AUTO_TEST_CASE(the_details_match_libvirts_error)
{
    outcome opened;
    avirt::error_details why;
    conn.async_open("nonsense:///", avirt::with_details(opened.handler(), why));
    run_until_done(opened);
    virConnectPtr c = virConnectOpen("nonsense:///");
    BOOST_REQUIRE(!c);
    const virError* expected = virGetLastError();
    BOOST_TEST(why.message == expected->message);
    BOOST_TEST(why.code == expected->code);
    BOOST_TEST(why.domain == expected->domain);
    if (expected->code == VIR_ERR_SYSTEM_ERROR)
        BOOST_TEST(opened.ec() == error_code(expected->int1, boost::system::system_category()));
    else
        BOOST_TEST(opened.ec() == error_code(expected->code, avirt::libvirt_category()));
}

BOOST_AUTO_TEST_CASE(details_are_left_alone_on_success)
{
    outcome opened;
    avirt::error_details why;
    why.message = "untouched";
    conn.async_open("test:///default", avirt::with_details(opened.handler(), why));
    check_result(opened);
    BOOST_TEST(why.message == "untouched");
}

BOOST_AUTO_TEST_CASE(adopted_from_elsewhere)
{
    virConnectPtr c = virConnectOpen("test:///default");
    {
        avirt::connection adopted(io.get_executor(), c);
        BOOST_TEST(adopted.native_handle() == c);
        outcome o;
        adopted.async_call(virConnectNumOfDomains, o.handler());
        check_result(o);
        BOOST_TEST(o.bytes() == 1u);
        virConnectRef(c);
    }
    support::run_to_end(io);
    BOOST_TEST(virConnectClose(c) == 0); // The adopted reference is gone.
}

BOOST_AUTO_TEST_CASE(released_to_the_caller)
{
    open_connection();
    support::gate g;
    outcome pending;
    conn.async_call(g.entry(), pending.handler());
    virConnectPtr c = conn.release();
    BOOST_REQUIRE(c);
    BOOST_TEST(!conn.is_open());
    BOOST_TEST(!conn.release());
    check_result(pending, aborted);
    g.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
    support::run_to_end(io);
    BOOST_TEST(virConnectClose(c) == 0); // This was the only reference.
    open_connection();
}

BOOST_AUTO_TEST_CASE(a_moved_from_connection_can_be_opened_again)
{
    open_connection();
    const auto native = conn.native_handle();
    outcome pending;
    conn.async_call(virConnectNumOfDomains, pending.handler());
    avirt::connection moved(std::move(conn));
    BOOST_TEST(moved.native_handle() == native);
    BOOST_TEST(!conn.is_open());
    check_result(pending);
    open_connection();
    BOOST_TEST(conn.native_handle() != native);
    outcome closed;
    moved.async_call([](virConnectPtr) {}, closed.handler());
    conn = std::move(moved);
    BOOST_TEST(conn.native_handle() == native);
    check_result(closed);
    auto& self = conn;
    conn = std::move(self);
    BOOST_TEST(conn.native_handle() == native);
}

BOOST_AUTO_TEST_CASE(replaced_while_busy)
{
    open_connection();
    support::gate g;
    outcome call;
    conn.async_call(g.entry(), call.handler());
    conn = avirt::connection(io);
    check_result(call, aborted);
    BOOST_TEST(!conn.is_open());
}

BOOST_AUTO_TEST_CASE(many_at_a_time)
{
    std::vector<avirt::connection> connections;
    std::vector<outcome> opened(40);
    for (auto& o : opened)
        connections.emplace_back(io).async_open("test:///default", o.handler());
    for (auto& o : opened)
        check_result(o);
    for (auto& c : connections)
        BOOST_TEST(c.is_open());
}

BOOST_AUTO_TEST_CASE(the_context_runs_other_handlers_while_opening)
{
    outcome opened;
    outcome posted;
    conn.async_open("test:///default", opened.handler());
    asio::post(io, [note = posted.handler()] { note({}); });
    run_until_done(posted);
    check_result(opened);
}

BOOST_AUTO_TEST_CASE(drain_completes_when_everything_is_gone)
{
    open_stream();
    outcome drained;
    loop.async_drain(drained.handler());
    outcome some;
    stream.async_read_some(asio::buffer(memory), some.handler());
    run_until_done(some);
    io.poll();
    BOOST_TEST(!drained); // The stream's watch is still registered.
    BOOST_TEST(!loop.is_idle());
    stream.close();
    conn.close();
    check_result(drained);
    BOOST_TEST(loop.is_idle());
    BOOST_TEST(loop.stats().watches == 0u);
    BOOST_TEST(loop.stats().running_calls + loop.stats().queued_calls == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(without_a_loop_nothing_opens)
{
    asio::io_context io;
    avirt::connection conn(io);
    outcome opened;
    conn.async_open("test:///default", opened.handler());
    io.run();
    BOOST_TEST(opened.calls() == 1);
    BOOST_TEST(opened.ec() == avirt::error::no_event_loop);

    virConnectPtr c = nullptr;
    {
        const avirt::event_loop loop(io); // libvirt requires that an event loop has been registered.
        c = virConnectOpen("test:///default");
    }
    BOOST_REQUIRE(c);
    avirt::connection adopted(io.get_executor(), c);
    avirt::async_stream stream(io);
    outcome stream_opened;
    const avirt::screenshot opener{"test"};
    stream.async_open(adopted, opener, stream_opened.handler());
    io.restart();
    io.run();
    BOOST_TEST(stream_opened.calls() == 1);
    BOOST_TEST(stream_opened.ec() == avirt::error::no_event_loop);
    outcome called;
    adopted.async_call(virConnectNumOfDomains, called.handler());
    support::run_until(io, [&] { return called.calls() > 0; });
    BOOST_TEST(!called.ec());
}

BOOST_AUTO_TEST_CASE(one_loop_at_a_time)
{
    asio::io_context io;
    std::optional<avirt::event_loop> first(std::in_place, io);
    try {
        const avirt::event_loop second(io);
        BOOST_ERROR("a second loop was created");
    }
    catch (const avirt::exception& e) {
        BOOST_TEST(e.code() == avirt::error::event_loop_in_use);
    }
    first.reset();
    const avirt::event_loop third(io);
    // Connections of the previous test may still be closing.
    BOOST_TEST(support::eventually([&] { return third.is_idle(); }));
}

} // namespace
