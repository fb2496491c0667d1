// SPDX-License-Identifier: BSL-1.0
#include "supervision_fixture.hpp"

#include <avirt/host_feed.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>

#include <csignal>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

// A supervised connection to a daemon that stops and comes back.

namespace {

BOOST_FIXTURE_TEST_SUITE(remote_supervision, supervision_fixture)

BOOST_AUTO_TEST_CASE(changes_while_the_daemon_is_away)
{
    define("stays");
    define("goes");
    next<avirt::host_connected>();
    BOOST_TEST((states == domain_states{{"stays", VIR_DOMAIN_SHUTOFF}, {"goes", VIR_DOMAIN_SHUTOFF}}));

    leave(SIGKILL);
    const auto lost = next<avirt::host_disconnected>();
    BOOST_TEST((lost.error == avirt::condition::connection_lost));
    BOOST_TEST(lost.details.message.find("daemon") != std::string::npos);
    auto failed = next<avirt::host_disconnected>(); // At first the daemon's socket may still exist.
    while (failed.details.message.find(daemon.socket().string()) == std::string::npos)
        failed = next<avirt::host_disconnected>();
    BOOST_TEST(!host.connection().is_open());
    forget_guest("goes");

    come_back();
    const auto back = next<avirt::host_connected>();
    BOOST_TEST((states == domain_states{{"stays", VIR_DOMAIN_SHUTOFF}}));
    BOOST_REQUIRE(back.missed.size() == 1u);
    BOOST_TEST(back.missed[0].status.name == "goes");
    BOOST_TEST(back.missed[0].is_gone);
    BOOST_TEST(back.missed[0].event == int{VIR_DOMAIN_EVENT_UNDEFINED});
    define("comes");
    next<avirt::domain_changed>();
    BOOST_TEST((states == domain_states{{"stays", VIR_DOMAIN_SHUTOFF}, {"comes", VIR_DOMAIN_SHUTOFF}}));
}

BOOST_AUTO_TEST_CASE(a_guest_that_outlives_the_daemon)
{
    start_guest("echo", avirt_demo_guest);
    next<avirt::host_connected>();
    BOOST_TEST((states == domain_states{{"echo", VIR_DOMAIN_RUNNING}}));
    leave(SIGTERM);
    next<avirt::host_disconnected>();
    come_back();
    next<avirt::host_connected>();
    while (states != domain_states{{"echo", VIR_DOMAIN_RUNNING}})
        receive_report();
    // The daemon reports the guest as running, then as active, but has reconnected to its monitor only once a
    // job can begin.
    for (int is_active = 0; is_active != 1;)
        on_guest("echo", [&](virDomainPtr guest) { return is_active = virDomainIsActive(guest); });
    on_guest("echo", virDomainSuspend);
    while (states != domain_states{{"echo", VIR_DOMAIN_PAUSED}})
        receive_report();
    on_guest("echo", virDomainDestroy);
    while (states != domain_states{{"echo", VIR_DOMAIN_SHUTOFF}})
        receive_report();
}

BOOST_AUTO_TEST_CASE(followed_events)
{
    lifecycle_source source{host.connection()};
    host.follow(source);
    next<avirt::host_connected>();
    define("before");
    next<avirt::domain_changed>(); // The event has arrived.
    leave(SIGKILL);
    next<avirt::host_disconnected>();
    come_back();
    next<avirt::host_connected>();
    define("after");
    // The source reports everything in order, although all of it has already happened.
    const auto first = receive(source);
    BOOST_TEST(first.first == error_code());
    BOOST_TEST(virDomainGetName(first.second.domain.get()) == std::string("before"));
    BOOST_TEST((receive(source).first == avirt::condition::connection_lost));
    const auto last = receive(source);
    BOOST_TEST(last.first == error_code());
    BOOST_TEST(virDomainGetName(last.second.domain.get()) == std::string("after"));

    const auto waiting = start_receive(source);
    leave(SIGKILL);
    run_until_done(waiting);
    BOOST_TEST((waiting.ec() == avirt::condition::connection_lost));
    come_back();
    const auto event = start_receive(source);
    next<avirt::host_connected>();
    define("at last");
    run_until_done(event);
    BOOST_TEST(event.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(a_followed_source_is_unsubscribed_without_a_daemon)
{
    lifecycle_source source{host.connection()};
    host.follow(source);
    next<avirt::host_connected>();
    leave(SIGKILL);
    BOOST_TEST((receive(source).first == avirt::condition::connection_lost));
    const auto waiting = start_receive(source);
    next<avirt::host_disconnected>();
    BOOST_TEST((unsubscribe(source) == avirt::error::not_open));
    run_until_done(waiting);
    BOOST_TEST(waiting.ec() == aborted);
    come_back();
    next<avirt::host_connected>();
    BOOST_TEST((receive(source).first.failed())); // It is not subscribed again.
}

BOOST_AUTO_TEST_CASE(calls_on_its_connection)
{
    next<avirt::host_connected>();
    const auto count = [&] {
        outcome counted;
        host.connection().async_call(virConnectNumOfDomains, counted.handler());
        return counted;
    };
    const auto fine = count();
    run_until_done(fine);
    BOOST_TEST(fine.ec() == error_code());
    daemon.freeze();
    std::vector<outcome> calls;
    for (int i = 0; i < 20; ++i)
        calls.push_back(count());
    leave(SIGKILL);
    for (const auto& c : calls) { // Also those that had not begun.
        run_until_done(c);
        BOOST_TEST((c.ec() == avirt::condition::connection_lost));
    }
    next<avirt::host_disconnected>();
    const auto away = count();
    run_until_done(away);
    BOOST_TEST((away.ec() == avirt::error::not_open));
    come_back();
    next<avirt::host_connected>();
    const auto again = count();
    run_until_done(again);
    BOOST_TEST(again.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(closed_while_the_daemon_does_not_answer)
{
    next<avirt::host_connected>();
    outcome received;
    daemon.freeze();
    host.async_receive([h = received.handler()](error_code ec, avirt::host_report) mutable { h(ec); });
    host.close();
    run_until_done(received);
    BOOST_TEST(received.ec() == aborted);

    avirt::supervised_connection opening{io, options()};
    outcome none;
    const auto watches = loop.stats().watches;
    opening.async_receive([h = none.handler()](error_code ec, avirt::host_report) mutable { h(ec); });
    run_until([&] { return loop.stats().watches > watches; });
    opening.close();
    run_until_done(none);
    BOOST_TEST(none.ec() == aborted);
    conn.close();
    support::run_to_end(io); // Does not wait for the daemon.
}

BOOST_AUTO_TEST_CASE(a_guest_that_starts_paused_does_not_count_as_running)
{
    define("paused");
    const auto waited = wait_for(VIR_DOMAIN_RUNNING, "paused");
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    on_guest("paused", [](virDomainPtr d) { return virDomainCreateWithFlags(d, VIR_DOMAIN_START_PAUSED); });
    while (receive(source).second.event != VIR_DOMAIN_EVENT_SUSPENDED)
        ;
    run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
    BOOST_TEST(!waited);
    on_guest("paused", virDomainResume);
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
    on_guest("paused", virDomainDestroy);
}

BOOST_AUTO_TEST_CASE(a_wait_sees_the_brief_shutdown_state)
{
    start_guest("echo", avirt_demo_guest);
    const auto waited = wait_for(VIR_DOMAIN_SHUTDOWN, "echo");
    converse();
    send("\4", 1); // Ctrl-D makes the guest power off.
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(a_wait_on_a_host_outlives_the_loss_of_its_connection)
{
    define("guest");
    outcome waited;
    avirt::async_wait_for_state(host, "guest", VIR_DOMAIN_RUNNING, waited.handler());
    next<avirt::host_connected>();
    for (int i = 0; i < 2; ++i) {
        leave(SIGKILL);
        next<avirt::host_disconnected>();
        come_back();
        next<avirt::host_connected>();
        BOOST_TEST(!waited);
    }
    on_guest("guest", virDomainCreate);
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
    on_guest("guest", virDomainDestroy);
}

BOOST_AUTO_TEST_CASE(the_number_of_questions_does_not_depend_on_the_number_of_domains)
{
    auto through_proxy = options();
    through_proxy.open.uri = proxy.uri();
    const auto connect = [&] {
        host.close();
        run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
        proxied_calls = 0;
        host = avirt::supervised_connection(io, through_proxy);
        next<avirt::host_connected>();
        return proxied_calls.load();
    };
    define("first");
    const int for_one = connect();
    constexpr int domains = 20;
    for (int i = 1; i < domains; ++i)
        define("guest" + std::to_string(i));
    while (states.size() < domains)
        receive_report();
    BOOST_TEST(connect() == for_one);
    BOOST_TEST(states.size() == std::size_t{domains});

    proxied_calls = 0;
    define("last");
    next<avirt::domain_changed>();
    BOOST_TEST(proxied_calls == 1);
}

BOOST_AUTO_TEST_CASE(reports_that_nobody_receives_keep_no_lost_connection_open)
{
    const auto open_files = [] {
        const std::filesystem::directory_iterator files("/proc/self/fd");
        return std::distance(begin(files), end(files));
    };
    const auto restart = [&] {
        leave(SIGKILL);
        next<avirt::host_disconnected>();
        come_back();
        next<avirt::host_connected>();
    };
    define("guest");
    next<avirt::host_connected>();
    const avirt::host_feed idle{host};
    restart();
    const auto before = open_files();
    for (int i = 0; i < 3; ++i)
        restart();
    run_until([&] { return open_files() <= before; });
}

BOOST_AUTO_TEST_CASE(a_wait_for_a_state_ends_with_the_connection)
{
    define("idle");
    const auto waited = wait_for(VIR_DOMAIN_RUNNING, "idle");
    daemon.kill();
    run_until_done(waited);
    BOOST_TEST((waited.ec() == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
