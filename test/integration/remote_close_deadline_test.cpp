// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

// A stopped daemon does not keep anything alive that is no longer used.

namespace {

avirt::open_options without_keepalive(const support::libvirtd& daemon)
{
    avirt::open_options o{daemon.uri()};
    o.keepalive_interval = std::chrono::seconds(0);
    return o;
}

struct close_deadline_fixture : remote_fixture
{
    close_deadline_fixture() : remote_fixture(shared_daemon(), without_keepalive(shared_daemon())) {}

    avirt::domain find_guest(avirt::connection& c)
    {
        avirt::domain found;
        outcome called;
        c.async_call(
            [](virConnectPtr on) { return virDomainLookupByName(on, "echo"); },
            [&found, h = called.handler()](error_code ec, avirt::domain d) mutable {
                found = std::move(d);
                h(ec);
            });
        run_until_done(called);
        BOOST_REQUIRE(found);
        run_until([&] { return loop.stats().running_calls == 0; });
        return found;
    }

    void open_shared_stream()
    {
        start_guest("echo", avirt_demo_guest);
        outcome opened;
        stream.async_open(conn, avirt::shared_connection, console("echo"), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }
};

BOOST_FIXTURE_TEST_SUITE(remote_close_deadline, close_deadline_fixture)

BOOST_AUTO_TEST_CASE(an_object_that_outlives_its_connection)
{
    start_guest("echo", avirt_demo_guest);
    auto guest = find_guest(conn);
    conn.close();
    daemon.freeze();
    guest = {};
    support::run_to_end(io);
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(an_object_of_an_adopted_connection)
{
    start_guest("echo", avirt_demo_guest);
    avirt::connection adopted(io.get_executor(), conn.release());
    auto guest = find_guest(adopted);
    adopted.close();
    daemon.freeze();
    guest = {};
    support::run_to_end(io);
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(a_shared_stream_whose_finish_was_cancelled)
{
    open_shared_stream();
    daemon.freeze();
    asio::cancellation_signal signal;
    outcome finished;
    stream.async_finish(asio::bind_cancellation_slot(signal.slot(), finished.handler()));
    run_until([&] { return loop.stats().running_calls == 1; });
    check_cancellation(signal, finished);
    conn.close();
    support::run_to_end(io);
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(a_shared_stream_that_outlives_its_connection)
{
    open_shared_stream();
    conn.close();
    daemon.freeze();
    stream.close();
    support::run_to_end(io);
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(an_event_source)
{
    {
        avirt::event_source<avirt::domain_lifecycle> events(conn);
        outcome subscribed;
        events.async_subscribe(subscribed.handler());
        run_until_done(subscribed);
        BOOST_REQUIRE_EQUAL(subscribed.ec(), error_code());
        run_until([&] { return loop.stats().running_calls == 0; });
        daemon.freeze();
    }
    run_until([&] { return loop.stats().running_calls == 1; }); // The callback is being deregistered.
    conn.close();
    support::run_to_end(io);
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(another_stream_of_the_connection_is_not_cut_off)
{
    open_shared_stream();
    start_guest("echo-too", avirt_demo_guest);
    {
        avirt::async_stream other(io);
        outcome opened;
        other.async_open(conn, avirt::shared_connection, console("echo-too"), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        run_until([&] { return loop.stats().running_calls == 0; });
        daemon.freeze();
    }
    conn.close();
    // Longer than the second that a release may take on a connection that is no longer in use.
    bool is_over = false;
    asio::steady_timer timer(io, std::chrono::milliseconds(1500));
    timer.async_wait([&](error_code) { is_over = true; });
    run_until([&] { return is_over; });
    daemon.thaw();
    check_echo();
}

struct other_host
{
    support::libvirtd other; // Started before the fixture checks for sleeps.
};

struct two_hosts_fixture : other_host, close_deadline_fixture
{
};

BOOST_FIXTURE_TEST_CASE(another_host_is_not_delayed, two_hosts_fixture)
{
    start_guest("echo", avirt_demo_guest);
    auto guest = find_guest(conn);
    avirt::connection healthy(io);
    outcome opened;
    healthy.async_open(other.uri(), opened.handler());
    run_until_done(opened);
    BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    conn.close();
    run_until([&] { return loop.stats().running_calls == 0; });
    daemon.freeze();
    guest = {};
    run_until([&] { return loop.stats().running_calls == 1; });
    healthy.close();
    run_until([&] { return other.clients() == 0; });
    support::run_to_end(io);
}

// Closing a connection while no loop is bound does not harm what is still used.

struct unbound_fixture
{
    asio::io_context io;
    std::optional<avirt::event_loop> loop{std::in_place, io};
    avirt::connection conn{io};

    void run_until_done(const outcome& o)
    {
        support::run_until(io, [&] { return o.calls() > 0; });
        BOOST_REQUIRE_EQUAL(o.ec(), error_code());
    }

    /// Closes the connection while there is no loop.
    void close()
    {
        loop.reset();
        conn.close();
        BOOST_TEST(support::eventually([] { return no_call_is_pending(); }));
    }

    static bool no_call_is_pending()
    {
        asio::io_context none;
        const avirt::event_loop probe(none);
        const auto s = probe.stats();
        return s.running_calls == 0 && s.queued_calls == 0;
    }
};

BOOST_FIXTURE_TEST_CASE(a_reference_of_the_application_stays_usable, unbound_fixture)
{
    auto* plain = virConnectOpen(shared_daemon().uri().c_str());
    BOOST_REQUIRE(plain);
    virConnectRef(plain);
    conn = avirt::connection(io.get_executor(), plain);
    outcome called;
    conn.async_call(virConnectNumOfDomains, called.handler()); // avirt finds its socket by this call.
    run_until_done(called);
    close();
    BOOST_TEST(virConnectNumOfDomains(plain) >= 0);
    BOOST_TEST(virConnectClose(plain) == 0);
    loop.emplace(io);
    support::run_to_end(io);
}

BOOST_FIXTURE_TEST_CASE(a_shared_stream_stays_usable, unbound_fixture)
{
    outcome opened, started, opened_stream, written, read;
    conn.async_open(shared_daemon().uri(), opened.handler());
    run_until_done(opened);
    const auto start = [xml = shared_daemon().guest_xml("echo", avirt_demo_guest)](virConnectPtr c) {
        avirt::domain guest{virDomainLookupByName(c, "echo")};
        if (!guest)
            guest = avirt::domain{virDomainDefineXML(c, xml.c_str())};
        return guest && (virDomainIsActive(guest.get()) == 1 || virDomainCreate(guest.get()) == 0) ? 0 : -1;
    };
    conn.async_call(start, started.handler());
    run_until_done(started);
    avirt::async_stream stream(io);
    stream.async_open(conn, avirt::shared_connection, avirt::console{"echo"}, opened_stream.handler());
    run_until_done(opened_stream);
    close();
    loop.emplace(io);
    std::string text;
    asio::async_write(stream, asio::buffer("hello\r", 6), written.handler());
    asio::async_read_until(stream, asio::dynamic_buffer(text), "hello\r\n", read.handler());
    run_until_done(read);
    stream.close();
    support::run_to_end(io);
    BOOST_TEST(loop->is_idle());
}

// Connections that streams and calls open for themselves while the daemon is stopped.

struct limited_fixture : remote_fixture
{
    limited_fixture() : remote_fixture(shared_daemon(), limited()) {}

    static avirt::open_options limited()
    {
        auto o = without_keepalive(shared_daemon());
        o.timeout = std::chrono::seconds(5);
        return o;
    }
};

BOOST_FIXTURE_TEST_CASE(additional_connections_time_out, limited_fixture)
{
    start_guest("echo", avirt_demo_guest);
    daemon.freeze();
    avirt::error_details why;
    outcome opened, called;
    stream.async_open(conn, console("echo"), opened.handler());
    conn.async_call(
        avirt::own_connection, virConnectNumOfDomains, avirt::with_details(called.handler(), why));
    run_until_done(opened);
    run_until_done(called);
    BOOST_TEST(opened.ec() == avirt::condition::timed_out);
    BOOST_TEST(called.ec() == avirt::condition::timed_out);
    BOOST_TEST(!why.message.empty());
    BOOST_TEST(!stream.is_open());
    daemon.thaw();
    outcome again;
    stream.async_open(conn, console("echo"), again.handler());
    run_until_done(again);
    BOOST_TEST(again.ec() == error_code());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
