// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <support/gate.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/read.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <utility>
#include <vector>

// Waiting until a connection is closed, calls on a connection of their own, and adopted connections.

namespace {

using avirt::close_reason;
using support::gate;

/// The result of async_wait_closed().
struct closed
{
    outcome o{};
    std::shared_ptr<close_reason> why = std::make_shared<close_reason>(close_reason::error);

    auto handler() const
    {
        return [note = o.handler(), why = why](error_code ec, close_reason r) mutable {
            *why = r;
            note(ec);
        };
    }
};

/// Each test has its own daemon, and may kill it.
struct own_daemon
{
    support::libvirtd own;
};

struct connection_fixture : own_daemon, remote_fixture
{
    connection_fixture() : remote_fixture(own) {}

    closed wait_closed(avirt::connection& c)
    {
        closed w;
        c.async_wait_closed(w.handler());
        return w;
    }

    void check(const closed& w, error_code ec, close_reason why)
    {
        run_until_done(w.o);
        BOOST_TEST(w.o.ec() == ec);
        BOOST_TEST((*w.why == why));
        BOOST_TEST(w.o.calls() == 1);
    }

    /// Opens a connection with virConnectOpen(), without avirt's knowledge.
    virConnectPtr open_elsewhere()
    {
        virConnectPtr native = nullptr;
        call([&](virConnectPtr) {
            native = virConnectOpen(uri.c_str());
            if (!native)
                avirt::throw_last_error();
        });
        return native;
    }

    /// Starts a call and waits until its function is running.
    template <class Signal>
    outcome start_call(const gate& g, Signal& signal)
    {
        outcome called;
        conn.async_call(
            avirt::own_connection, g.entry(), asio::bind_cancellation_slot(signal.slot(), called.handler()));
        run_until([&] { return g.arrived() == 1; });
        return called;
    }

    outcome count_domains()
    {
        outcome counted;
        conn.async_call(virConnectNumOfDomains, counted.handler());
        return counted;
    }
};

BOOST_FIXTURE_TEST_SUITE(remote_wait_closed, connection_fixture)

BOOST_AUTO_TEST_CASE(the_daemon_is_killed)
{
    const auto w = wait_closed(conn);
    daemon.kill();
    check(w, {}, close_reason::eof);
    BOOST_TEST(conn.is_open());
    check(wait_closed(conn), {}, close_reason::eof); // A later wait has the same result.
    conn.close();
    check(wait_closed(conn), avirt::error::not_open, close_reason::error);
}

BOOST_AUTO_TEST_CASE(the_daemon_quits)
{
    const auto w = wait_closed(conn);
    daemon.quit();
    check(w, {}, close_reason::eof);
}

BOOST_AUTO_TEST_CASE(the_daemon_does_not_answer)
{
    avirt::open_options options{uri};
    options.keepalive_interval = std::chrono::seconds(1);
    options.keepalive_count = 1;
    avirt::connection impatient{io};
    outcome opened;
    impatient.async_open(options, opened.handler());
    run_until_done(opened);
    const auto w = wait_closed(impatient);
    daemon.freeze();
    check(w, {}, close_reason::keepalive);
}

BOOST_AUTO_TEST_CASE(a_call_is_cancelled)
{
    const auto w = wait_closed(conn);
    asio::cancellation_signal signal;
    outcome called;
    daemon.freeze();
    conn.async_call(virConnectNumOfDomains, asio::bind_cancellation_slot(signal.slot(), called.handler()));
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    signal.emit(asio::cancellation_type::terminal);
    run_until_done(called);
    check(w, {}, close_reason::client);
}

BOOST_AUTO_TEST_CASE(a_call_is_abandoned)
{
    const auto w = wait_closed(conn);
    asio::cancellation_signal signal;
    outcome called, next;
    daemon.freeze();
    conn.async_call(virConnectNumOfDomains, asio::bind_cancellation_slot(signal.slot(), called.handler()));
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    signal.emit(asio::cancellation_type::partial);
    run_until_done(called);
    BOOST_TEST(called.ec() == aborted);
    conn.async_call(virConnectNumOfDomains, next.handler());
    daemon.thaw();
    run_until_done(next);
    BOOST_TEST(next.ec() == error_code());
    BOOST_TEST(!w.o);

    // The thread of the abandoned call returns when the connection is closed.
    daemon.freeze();
    called = {};
    conn.async_call(virConnectNumOfDomains, asio::bind_cancellation_slot(signal.slot(), called.handler()));
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    signal.emit(asio::cancellation_type::partial);
    run_until_done(called);
    conn.close();
    check(w, aborted, close_reason::client);
    run_until([&] { return loop.stats().running_calls + loop.stats().abandoned_calls == 0; });
}

BOOST_AUTO_TEST_CASE(closed_by_this_side)
{
    const auto orderly = wait_closed(conn);
    outcome ended;
    conn.async_close(ended.handler());
    run_until_done(ended);
    check(orderly, {}, close_reason::client);

    open(conn);
    const auto closing = wait_closed(conn);
    conn.close();
    check(closing, aborted, close_reason::client);

    open(conn);
    const auto cancelled = wait_closed(conn);
    conn.cancel();
    check(cancelled, aborted, close_reason::client);

    auto brief = std::make_unique<avirt::connection>(io);
    open(*brief);
    const auto destroyed = wait_closed(*brief);
    brief.reset();
    check(destroyed, aborted, close_reason::client);
}

BOOST_AUTO_TEST_CASE(a_wait_excludes_others_and_can_be_cancelled)
{
    asio::cancellation_signal signal;
    closed first;
    conn.async_wait_closed(asio::bind_cancellation_slot(signal.slot(), first.handler()));
    check(wait_closed(conn), avirt::error::operation_in_progress, close_reason::error);
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        signal.emit(type);
        check(first, aborted, close_reason::client);
        first = {};
        conn.async_wait_closed(asio::bind_cancellation_slot(signal.slot(), first.handler()));
    }
    const auto domains = count_domains(); // Cancelling the wait does not affect the connection.
    run_until_done(domains);
    BOOST_TEST(domains.ec() == error_code());
    conn.close();
    check(first, aborted, close_reason::client);
}

BOOST_AUTO_TEST_CASE(libvirts_close_callback_stays_available)
{
    const auto w = wait_closed(conn);
    const auto nothing = [](virConnectPtr, int, void*) {};
    call([nothing](virConnectPtr c) {
        if (virConnectRegisterCloseCallback(c, nothing, nullptr, nullptr) < 0
            || virConnectUnregisterCloseCallback(c, nothing) < 0)
            avirt::throw_last_error();
    });
    daemon.kill();
    check(w, {}, close_reason::eof);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_shared, connection_fixture)

BOOST_AUTO_TEST_CASE(lost_while_a_stream_is_opened)
{
    start_guest("echo", avirt_demo_guest);
    std::promise<void> is_lost;
    conn.async_wait_closed([&](error_code, close_reason) { is_lost.set_value(); });
    const auto open_and_lose = [&](virConnectPtr c, virStreamPtr st) {
        const int result = console("echo")(c, st);
        daemon.kill();
        is_lost.get_future().wait();
        return result;
    };
    outcome opened, read;
    stream.async_open(conn, avirt::shared_connection, open_and_lose, opened.handler());
    run_until_done(opened);
    if (!opened.ec()) {
        char c;
        stream.async_read_some(asio::buffer(&c, 1), read.handler());
        run_until_done(read);
    }
    const auto ec = opened.ec() ? opened.ec() : read.ec();
    BOOST_TEST((ec == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_SUITE_END()

struct impatient_fixture : own_daemon, remote_fixture
{
    impatient_fixture() : remote_fixture(own, options(own.uri())) {}

    static avirt::open_options options(const std::string& uri)
    {
        avirt::open_options o{uri};
        o.keepalive_interval = std::chrono::seconds(1);
        o.keepalive_count = 5;
        return o;
    }

    /// Runs until so many callbacks have been called. If nothing else happens, keepalive causes them.
    void run_callbacks(std::uint64_t callbacks)
    {
        run_until(
            [&, until = loop.stats().dispatched + callbacks] { return loop.stats().dispatched >= until; });
    }
};

// The daemon's answers to PINGs stay unread in the socket, but the daemon must not count as silent for the
// time before it is stopped.
BOOST_FIXTURE_TEST_CASE(a_short_stop_while_nothing_is_read, impatient_fixture)
{
    start_guest("echo", avirt_demo_guest);
    open_stream(console("echo"));
    run_callbacks(30);
    daemon.freeze();
    run_callbacks(5);
    daemon.thaw();
    check_echo();
}

BOOST_FIXTURE_TEST_SUITE(remote_adopted, connection_fixture)

BOOST_AUTO_TEST_CASE(the_daemon_is_killed)
{
    avirt::connection adopted{io.get_executor(), open_elsewhere()};
    const auto w = wait_closed(adopted);
    run_until([&] { return loop.stats().running_calls == 0; });
    BOOST_TEST(!w.o);
    daemon.kill();
    check(w, {}, close_reason::eof);
    check(wait_closed(adopted), {}, close_reason::eof);
}

BOOST_AUTO_TEST_CASE(a_stuck_call_is_cancelled)
{
    avirt::connection adopted{io.get_executor(), open_elsewhere()};
    outcome called;
    adopted.async_call(virConnectNumOfDomains, called.handler());
    run_until_done(called);
    BOOST_TEST(called.ec() == error_code());
    const auto w = wait_closed(adopted);
    daemon.freeze();
    asio::cancellation_signal signal;
    called = {};
    adopted.async_call(virConnectNumOfDomains, asio::bind_cancellation_slot(signal.slot(), called.handler()));
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    check_cancellation(signal, called);
    run_until([&] { return loop.stats().abandoned_calls == 0; }); // Its thread has returned.
    check(w, {}, close_reason::client);
}

BOOST_AUTO_TEST_CASE(its_event_source_reports_the_loss)
{
    avirt::connection adopted{io.get_executor(), open_elsewhere()};
    avirt::event_source<avirt::domain_lifecycle> source{adopted};
    outcome subscribed, received;
    source.async_subscribe(subscribed.handler()); // The first call on the connection.
    run_until_done(subscribed);
    BOOST_TEST(subscribed.ec() == error_code());
    source.async_receive([h = received.handler()](error_code ec, auto&&) mutable { h(ec); });
    daemon.kill();
    run_until_done(received);
    BOOST_TEST((received.ec() == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(its_stream_reports_the_loss)
{
    start_guest("echo", avirt_demo_guest);
    avirt::connection adopted{io.get_executor(), open_elsewhere()};
    outcome opened, read;
    stream.async_open(adopted, console("echo"), opened.handler()); // The first call on it.
    run_until_done(opened);
    BOOST_TEST(opened.ec() == error_code());
    std::string text;
    asio::async_read(stream, asio::dynamic_buffer(text), read.handler());
    daemon.kill();
    run_until_done(read);
    BOOST_TEST((read.ec() == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(released_during_the_search_for_its_socket)
{
    avirt::connection adopted{io.get_executor(), open_elsewhere()};
    daemon.freeze();
    const auto w = wait_closed(adopted);
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    virConnectPtr native = adopted.release();
    check(w, aborted, close_reason::client);
    daemon.thaw();
    run_until([&] { return loop.stats().abandoned_calls == 0; });
    avirt::connection next{io.get_executor(), native}; // The connection still works.
    outcome counted;
    next.async_call(virConnectNumOfDomains, counted.handler());
    run_until_done(counted);
    BOOST_TEST(counted.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(a_call_on_its_own_connection_uses_the_adopted_one)
{
    virConnectPtr native = open_elsewhere();
    avirt::connection adopted{io.get_executor(), native};
    virConnectPtr used = nullptr;
    outcome called;
    adopted.async_call(
        avirt::own_connection, [&](virConnectPtr c) { used = c; }, called.handler());
    run_until_done(called);
    BOOST_TEST(called.ec() == error_code());
    BOOST_TEST(used == native);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_own_connection, connection_fixture)

BOOST_AUTO_TEST_CASE(does_not_delay_other_calls)
{
    gate g;
    asio::cancellation_signal signal;
    const auto slow = start_call(g, signal);
    BOOST_TEST(daemon.clients() == 2);
    const auto domains = count_domains();
    run_until_done(domains);
    BOOST_TEST(domains.ec() == error_code());
    BOOST_TEST(!slow);
    g.open();
    run_until_done(slow);
    BOOST_TEST(slow.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(the_result_may_outlive_the_call)
{
    call([xml = daemon.guest_xml("vm", avirt_demo_guest)](virConnectPtr c) {
        const avirt::domain guest{virDomainDefineXML(c, xml.c_str())};
        if (!guest)
            avirt::throw_last_error();
    });
    avirt::domain found;
    conn.async_call(
        avirt::own_connection, [](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "vm")); },
        [&](error_code ec, avirt::domain d) {
            BOOST_TEST(ec == error_code());
            found = std::move(d);
        });
    run_until([&] { return bool(found); });
    call([&](virConnectPtr) { // On the connection that the handle keeps open.
        if (virDomainIsActive(found.get()) != 0)
            avirt::throw_last_error();
    });
    found = {};
    on_guest("vm", virDomainUndefine);
}

BOOST_AUTO_TEST_CASE(cancelled_while_it_runs)
{
    for (const auto type : {asio::cancellation_type::partial, asio::cancellation_type::total}) {
        gate g;
        asio::cancellation_signal signal;
        const auto slow = start_call(g, signal);
        signal.emit(type);
        g.open();
        run_until_done(slow);
        const bool is_abandoned = type == asio::cancellation_type::partial; // Too late for total.
        BOOST_TEST(slow.ec() == (is_abandoned ? aborted : error_code()));
    }
    daemon.freeze();
    asio::cancellation_signal signal;
    outcome called;
    std::atomic<bool> has_begun = false;
    daemon.thaw();
    conn.async_call(
        avirt::own_connection,
        [&](virConnectPtr c) {
            daemon.freeze();
            has_begun = true;
            return virConnectNumOfDomains(c);
        },
        asio::bind_cancellation_slot(signal.slot(), called.handler()));
    run_until([&] { return has_begun.load(); });
    check_cancellation(signal, called);
    run_until([&] { return loop.stats().abandoned_calls == 0; });
    daemon.thaw();
    const auto domains = count_domains(); // This connection is not affected.
    run_until_done(domains);
    BOOST_TEST(domains.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(cancelled_while_it_connects)
{
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        daemon.freeze();
        asio::cancellation_signal signal;
        outcome called;
        std::atomic<bool> has_begun = false;
        const auto watches = loop.stats().watches;
        conn.async_call(
            avirt::own_connection, [&](virConnectPtr) { has_begun = true; },
            asio::bind_cancellation_slot(signal.slot(), called.handler()));
        run_until([&] { return loop.stats().watches > watches; });
        signal.emit(type);
        run_until_done(called);
        BOOST_TEST(called.ec() == aborted);
        daemon.thaw();
        run_until([&] { return loop.stats().watches == watches && loop.stats().abandoned_calls == 0; });
        BOOST_TEST(!has_begun.load());
    }
}

BOOST_AUTO_TEST_CASE(the_daemon_is_gone)
{
    const auto w = wait_closed(conn);
    daemon.kill();
    check(w, {}, close_reason::eof);
    avirt::error_details why;
    outcome called;
    conn.async_call(
        avirt::own_connection, [](virConnectPtr) {}, avirt::with_details(called.handler(), why));
    run_until_done(called);
    BOOST_TEST(called.ec().failed());
    BOOST_TEST(!why.message.empty());
}

BOOST_AUTO_TEST_CASE(closed_while_it_runs)
{
    gate g;
    asio::cancellation_signal signal;
    const auto slow = start_call(g, signal);
    conn.close();
    run_until_done(slow);
    BOOST_TEST(slow.ec() == aborted);
    g.open();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_many_calls, connection_fixture)

BOOST_AUTO_TEST_CASE(a_thousand_at_a_time)
{
    std::vector<outcome> calls(1000);
    run_until([&] { return loop.stats().running_calls == 0; }); // The open's thread may still be running.
    daemon.freeze();
    for (auto& c : calls)
        conn.async_call(virConnectNumOfDomains, c.handler());
    // Meanwhile the context runs other handlers, and the fixture checks that its thread does not sleep.
    outcome posted;
    asio::post(io, [note = posted.handler()] { note({}); });
    run_until_done(posted);
    run_until([&] { return loop.stats().running_calls > 0; });
    BOOST_TEST(loop.stats().running_calls + loop.stats().queued_calls == 1000u);
    for (const auto& c : calls)
        BOOST_TEST(!c);
    daemon.thaw();
    for (const auto& c : calls) {
        run_until_done(c);
        BOOST_TEST(c.ec() == error_code());
    }
    run_until([&] { return loop.stats().running_calls == 0; });
    BOOST_TEST(loop.stats().queued_calls == 0u);
}

BOOST_AUTO_TEST_CASE(a_thousand_when_the_daemon_dies)
{
    std::vector<outcome> calls(1000);
    daemon.freeze();
    for (auto& c : calls)
        conn.async_call(virConnectNumOfDomains, c.handler());
    run_until([&] { return loop.stats().running_calls > 0; });
    daemon.kill();
    for (const auto& c : calls) {
        run_until_done(c);
        BOOST_TEST((c.ec() == avirt::condition::connection_lost));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
