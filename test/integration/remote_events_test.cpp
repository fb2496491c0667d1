// SPDX-License-Identifier: BSL-1.0
#include "event_operations.hpp"
#include "remote_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace {

struct remote_events_fixture : with_events<remote_fixture>
{
    using with_events::with_events;

    void define_and_undefine(const std::string& name)
    {
        call([xml = daemon.guest_xml(name, avirt_demo_guest)](virConnectPtr c) {
            const avirt::domain guest{virDomainDefineXML(c, xml.c_str())};
            if (!guest || virDomainUndefine(guest.get()) < 0)
                avirt::throw_last_error();
        });
    }
};

const std::vector<int> defined_and_undefined{VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_UNDEFINED};

/// Each test has its own daemons, and may kill the first one.
struct mortal_daemon
{
    support::libvirtd mortal;
    support::libvirtd successor;
};

struct mortal_events_fixture : mortal_daemon, remote_events_fixture
{
    mortal_events_fixture() : remote_events_fixture(mortal) {}
};

BOOST_FIXTURE_TEST_SUITE(remote_events, mortal_events_fixture)

BOOST_AUTO_TEST_CASE(lifecycle_of_a_guest)
{
    lifecycle_source all{conn};
    BOOST_TEST(!subscribe(all));
    start_guest("followed", avirt_demo_guest);
    on_guest("followed", virDomainSuspend);
    on_guest("followed", virDomainResume);
    on_guest("followed", virDomainDestroy);
    on_guest("followed", virDomainUndefine);
    const std::vector<int> expected{VIR_DOMAIN_EVENT_DEFINED,  VIR_DOMAIN_EVENT_RESUMED,
                                    VIR_DOMAIN_EVENT_STARTED,  VIR_DOMAIN_EVENT_SUSPENDED,
                                    VIR_DOMAIN_EVENT_RESUMED,  VIR_DOMAIN_EVENT_STOPPED,
                                    VIR_DOMAIN_EVENT_UNDEFINED};
    BOOST_TEST(receive_lifecycle(all, expected.size()) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(secrets)
{
    avirt::event_source<avirt::secret_lifecycle> lifecycle{conn};
    avirt::event_source<avirt::secret_value_changed> value{conn};
    BOOST_TEST(!subscribe(lifecycle));
    BOOST_TEST(!subscribe(value));
    call([](virConnectPtr c) {
        const avirt::secret secret{virSecretDefineXML(c, "<secret ephemeral='yes' private='no'/>", 0)};
        const unsigned char key[] = {1, 2, 3};
        if (!secret || virSecretSetValue(secret.get(), key, sizeof key, 0) < 0
            || virSecretUndefine(secret.get()) < 0)
            avirt::throw_last_error();
    });
    for (const int expected : {VIR_SECRET_EVENT_DEFINED, VIR_SECRET_EVENT_UNDEFINED}) {
        const auto [ec, event] = receive(lifecycle);
        BOOST_TEST(ec == error_code());
        BOOST_TEST(event.event == expected);
    }
    const auto [ec, event] = receive(value);
    BOOST_TEST(ec == error_code());
    BOOST_TEST(bool(event.secret));
}

BOOST_AUTO_TEST_CASE(subscribing_at_a_stopped_daemon_can_be_cancelled)
{
    for (const auto type : {asio::cancellation_type::terminal, asio::cancellation_type::partial}) {
        avirt::connection another{io};
        open(another);
        lifecycle_source source{another};
        asio::cancellation_signal signal;
        outcome subscribed;
        daemon.freeze();
        source.async_subscribe(asio::bind_cancellation_slot(signal.slot(), subscribed.handler()));
        signal.emit(type); // The call may or may not have begun.
        if (type == asio::cancellation_type::terminal) {
            run_until_done(subscribed);
            BOOST_TEST(subscribed.ec() == aborted);
        }
        daemon.thaw();
        run_until_done(subscribed);
        BOOST_TEST(subscribed.calls() == 1);
    }
}

BOOST_AUTO_TEST_CASE(a_source_destroyed_while_subscribing_leaves_nothing)
{
    auto source = std::make_unique<lifecycle_source>(conn);
    outcome subscribed;
    const auto timeouts = loop.stats().timeouts; // libvirt adds one for a connection's events.
    daemon.freeze();
    source->async_subscribe(subscribed.handler());
    run_until([&] { return loop.stats().running_calls == 1 && loop.stats().queued_calls == 0; });
    source.reset();
    run_until_done(subscribed);
    BOOST_TEST(subscribed.ec() == aborted);
    daemon.thaw();
    run_until([&] { return loop.stats().running_calls + loop.stats().abandoned_calls == 0; });
    BOOST_TEST(loop.stats().timeouts == timeouts);
}

BOOST_AUTO_TEST_CASE(a_source_destroyed_while_the_daemon_is_stopped)
{
    auto source = std::make_unique<lifecycle_source>(conn);
    BOOST_TEST(!subscribe(*source));
    const auto received = start_receive(*source);
    daemon.freeze();
    source.reset();
    run_until_done(received);
    BOOST_TEST(received.ec() == aborted);
    daemon.thaw();
    lifecycle_source next{conn};
    BOOST_TEST(!subscribe(next));
    define_and_undefine("between");
    BOOST_TEST(receive_lifecycle(next, 2) == defined_and_undefined, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_events_killed, mortal_events_fixture)

BOOST_AUTO_TEST_CASE(a_waiting_receive_fails)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    avirt::error_details details;
    outcome received;
    source.async_receive(
        avirt::with_details([h = received.handler()](error_code ec, auto&&) mutable { h(ec); }, details));
    daemon.kill();
    run_until_done(received);
    BOOST_TEST(bool(received.ec() == avirt::condition::connection_lost));
    BOOST_TEST(details.message.find("daemon") != std::string::npos);
    BOOST_TEST(bool(receive(source).first == avirt::condition::connection_lost));
    outcome unsubscribed;
    source.async_unsubscribe(unsubscribed.handler());
    run_until_done(unsubscribed);
    BOOST_TEST(bool(unsubscribed.ec() == avirt::error::not_open));
}

BOOST_AUTO_TEST_CASE(earlier_events_are_received_first)
{
    lifecycle_source source{conn};
    lifecycle_source witness{conn};
    BOOST_TEST(!subscribe(source));
    BOOST_TEST(!subscribe(witness));
    define_and_undefine("before");
    receive_lifecycle(witness, 2);
    const auto lost = start_receive(witness);
    daemon.kill();
    run_until_done(lost);
    BOOST_TEST(receive_lifecycle(source, 2) == defined_and_undefined, boost::test_tools::per_element());
    BOOST_TEST(bool(receive(source).first == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(a_source_can_subscribe_again_on_the_next_connection)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    daemon.kill();
    BOOST_TEST(bool(receive(source).first == avirt::condition::connection_lost));
    conn.close();
    BOOST_TEST(bool(subscribe(source) == avirt::error::not_open));
    outcome opened;
    conn.async_open(successor.uri(), opened.handler());
    run_until_done(opened);
    BOOST_TEST(opened.ec() == error_code());
    BOOST_TEST(!subscribe(source));
    define_and_undefine("after");
    BOOST_TEST(receive_lifecycle(source, 2) == defined_and_undefined, boost::test_tools::per_element());
    conn.close();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
