// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <support/gate.hpp>
#include <support/packet_proxy.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

// Calls on connections of their own: which connections are used again, and when they are closed. A proxy in
// front of the daemon counts the connections that are opened.

namespace {

using support::packet_proxy;

struct counted_daemon
{
    support::libvirtd own;
    packet_proxy proxy{own.socket(), [](const packet_proxy::packet&) { return packet_proxy::verdict::pass; }};
};

struct ready_fixture : counted_daemon, remote_fixture
{
    ready_fixture() : remote_fixture(own, proxy.uri()) {}

    std::size_t opened() const noexcept
    {
        return proxy.accepted() - 1; // The first is the application's.
    }

    template <class Function>
    outcome start(Function function)
    {
        outcome called;
        conn.async_call(
            avirt::own_connection, std::move(function),
            [note = called.handler()](error_code ec, const auto&...) { note(ec); });
        return called;
    }

    template <class Function>
    void call_alone(Function function)
    {
        const auto called = start(std::move(function));
        run_until_done(called);
        BOOST_TEST(called.ec() == error_code());
    }

    /// Starts a call of a function that waits at the gate.
    outcome start_cancellable(support::gate& gate, asio::cancellation_signal& signal)
    {
        outcome called;
        conn.async_call(
            avirt::own_connection, gate.entry(),
            asio::bind_cancellation_slot(signal.slot(), called.handler()));
        run_until([&] { return gate.arrived() == 1; });
        return called;
    }

    /// Starts calls of functions that wait at the gate.
    std::deque<outcome> start_together(support::gate& gate, int count)
    {
        std::deque<outcome> calls;
        for (int i = 0; i < count; ++i)
            calls.push_back(start(gate.entry()));
        run_until([&] { return gate.arrived() == count; });
        return calls;
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_ready_connections, ready_fixture)

BOOST_AUTO_TEST_CASE(one_connection_serves_many_calls)
{
    for (int i = 0; i < 20; ++i)
        call_alone(virConnectNumOfDomains);
    BOOST_TEST(opened() == 1u);
    BOOST_TEST(daemon.clients() == 2);
    call_alone(virConnectGetHostname);
    call_alone([](virConnectPtr) {});
    call_alone([](virConnectPtr) { return std::vector<std::pair<std::string, int>>(); });
    BOOST_TEST(opened() == 1u);
}

BOOST_AUTO_TEST_CASE(a_call_that_fails_leaves_its_connection_ready)
{
    for (int i = 0; i < 3; ++i) {
        const auto called = start([](virConnectPtr c) {
            if (!virDomainLookupByName(c, "no such domain"))
                avirt::throw_last_error();
        });
        run_until_done(called);
        BOOST_TEST((called.ec() == avirt::condition::not_found));
    }
    BOOST_TEST(opened() == 1u);
}

BOOST_AUTO_TEST_CASE(calls_at_one_time_have_a_connection_each)
{
    support::gate gate;
    const auto calls = start_together(gate, 3);
    BOOST_TEST(opened() == 3u);
    gate.open();
    for (const auto& c : calls)
        run_until_done(c);
    support::gate again;
    const auto others = start_together(again, 3);
    BOOST_TEST(opened() == 3u);
}

BOOST_AUTO_TEST_CASE(a_few_are_kept)
{
    support::gate gate;
    const auto calls = start_together(gate, 10);
    BOOST_TEST(daemon.clients() == 11);
    gate.open();
    for (const auto& c : calls)
        run_until_done(c);
    run_until([&] { return daemon.clients() == 5; });
}

BOOST_AUTO_TEST_CASE(they_are_closed_when_they_have_been_idle)
{
    call_alone(virConnectNumOfDomains);
    BOOST_TEST(daemon.clients() == 2);
    run_until([&] { return daemon.clients() == 1; });
    call_alone(virConnectNumOfDomains);
    BOOST_TEST(opened() == 2u);
}

BOOST_AUTO_TEST_CASE(they_are_closed_with_the_applications_connection)
{
    const std::map<const char*, std::function<void()>> ways{
        {"close", [&] { conn.close(); }},
        {"async_close",
         [&] {
             outcome closed;
             conn.async_close(closed.handler());
             run_until_done(closed);
         }},
        {"release",
         [&] {
             avirt::connection adopted{io.get_executor(), conn.release()};
         }},
        {"assign", [&] { conn = avirt::connection{io}; }},
    };
    for (const auto& [name, give_up] : ways) {
        BOOST_TEST_CONTEXT(name)
        {
            call_alone(virConnectNumOfDomains);
            BOOST_TEST(daemon.clients() == 2);
            give_up();
            support::run_to_end(io);
            run_until([&] { return daemon.clients() == 0; });
            open(conn);
        }
    }
}

BOOST_AUTO_TEST_CASE(they_are_closed_with_the_context)
{
    {
        std::optional<asio::io_context> context(std::in_place);
        auto& other = *context;
        avirt::connection of_other{other};
        outcome opened, called;
        const auto run_both_until_done = [&](const outcome& o) {
            run_until([&] {
                other.restart();
                other.poll();
                return o.calls() > 0;
            });
        };
        of_other.async_open(uri, opened.handler());
        run_both_until_done(opened);
        of_other.async_call(avirt::own_connection, virConnectNumOfDomains, called.handler());
        run_both_until_done(called);
        BOOST_TEST(daemon.clients() == 3);
        context.reset();
        run_until([&] { return daemon.clients() == 2; }); // The connection itself is still open.
    }
    run_until([&] { return daemon.clients() == 1; });
}

BOOST_AUTO_TEST_CASE(one_to_which_a_result_may_refer_is_not_used_again)
{
    call([xml = daemon.guest_xml("vm", avirt_demo_guest)](virConnectPtr c) {
        const avirt::domain guest{virDomainDefineXML(c, xml.c_str())};
        if (!guest)
            avirt::throw_last_error();
    });
    struct found
    {
        avirt::domain domain;
    };
    call_alone([](virConnectPtr c) { return virDomainLookupByName(c, "vm"); });
    call_alone([](virConnectPtr c) { return found{avirt::domain{virDomainLookupByName(c, "vm")}}; });
    call_alone([](virConnectPtr c) { return std::vector<virDomainPtr>{virDomainLookupByName(c, "vm")}; });
    BOOST_TEST(opened() == 3u);
    on_guest("vm", virDomainUndefine);
}

BOOST_AUTO_TEST_CASE(one_that_was_interrupted_is_not_used_again)
{
    call_alone(virConnectNumOfDomains);
    support::gate gate;
    asio::cancellation_signal signal;
    const auto called = start_cancellable(gate, signal);
    check_cancellation(signal, called);
    gate.open();
    call_alone(virConnectNumOfDomains);
    BOOST_TEST(opened() == 2u);
}

BOOST_AUTO_TEST_CASE(one_whose_call_was_abandoned_is_used_again_when_that_has_returned)
{
    support::gate gate;
    asio::cancellation_signal signal;
    const auto called = start_cancellable(gate, signal);
    signal.emit(asio::cancellation_type::partial);
    run_until_done(called);
    call_alone(virConnectNumOfDomains);
    BOOST_TEST(opened() == 2u);
    gate.open();
    run_until([&] { return loop.stats().abandoned_calls == 0; });
    support::gate again;
    const auto calls = start_together(again, 2);
    BOOST_TEST(opened() == 2u);
}

BOOST_AUTO_TEST_CASE(one_that_was_lost_is_not_used_again)
{
    const auto before = loop.stats();
    call_alone(virConnectNumOfDomains);
    proxy.cut_latest();
    // Nothing is left that would keep run() from returning.
    run_until([&] {
        const auto now = loop.stats();
        return now.watches == before.watches && now.timeouts == before.timeouts;
    });
    call_alone(virConnectNumOfDomains);
    BOOST_TEST(opened() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()
