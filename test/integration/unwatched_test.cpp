// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>
#include <support/fake_libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <string>

// Connections that were opened before there was an event loop, and adopted later.

namespace {

using avirt::error_code;
using support::outcome;

struct early_connection
{
    const support::fake_libvirtd daemon{[](auto&) {}};
    virConnectPtr to_daemon = virConnectOpen(daemon.uri().c_str());
    virConnectPtr in_process = virConnectOpen("test:///default");
};

struct unwatched_fixture : early_connection, support::loop_fixture
{
    avirt::connection conn{io.get_executor(), to_daemon};
    avirt::connection local{io.get_executor(), in_process};
    avirt::error_details why;

    ~unwatched_fixture()
    {
        conn.close();
        local.close();
        support::run_to_end(io);
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    void check_refused(const outcome& o)
    {
        run_until_done(o);
        BOOST_TEST(o.ec() == avirt::error::no_event_loop);
        BOOST_TEST(why.message.find("before the event loop") != std::string::npos);
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(unwatched, unwatched_fixture)

BOOST_AUTO_TEST_CASE(streams_are_refused)
{
    avirt::async_stream stream(io);
    outcome opened;
    stream.async_open(conn, avirt::console{"vm"}, avirt::with_details(opened.handler(), why));
    check_refused(opened);
    BOOST_TEST(!stream.is_open());
}

BOOST_AUTO_TEST_CASE(event_sources_are_refused)
{
    avirt::event_source<avirt::domain_lifecycle> events{conn};
    outcome subscribed;
    events.async_subscribe(avirt::with_details(subscribed.handler(), why));
    check_refused(subscribed);
    BOOST_TEST(daemon.registrations() == 0);
}

BOOST_AUTO_TEST_CASE(waiting_for_the_end_is_refused)
{
    outcome lost;
    conn.async_wait_closed(avirt::with_details(
        [h = lost.handler()](error_code ec, avirt::close_reason) mutable { h(ec); }, why));
    check_refused(lost);
}

BOOST_AUTO_TEST_CASE(calls_work)
{
    outcome called;
    conn.async_call(
        [](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "vm")); },
        [h = called.handler()](error_code ec, const avirt::domain&) mutable { h(ec); });
    run_until_done(called);
    BOOST_TEST(called.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(a_connection_inside_this_process_is_not_refused)
{
    avirt::event_source<avirt::domain_lifecycle> events{local};
    outcome subscribed;
    events.async_subscribe(subscribed.handler());
    run_until_done(subscribed);
    BOOST_TEST(subscribed.ec() == error_code());
    avirt::async_stream stream(io);
    outcome opened;
    stream.async_open(local, avirt::screenshot{"test"}, opened.handler());
    run_until_done(opened);
    BOOST_TEST(opened.ec() == error_code());
}

BOOST_AUTO_TEST_SUITE_END()
