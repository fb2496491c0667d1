// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <avirt/domain_state.hpp>
#include <avirt/host_feed.hpp>
#include <avirt/supervised_connection.hpp>
#include <support/fake_libvirtd.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using avirt::domain_changed;
using avirt::host_connected;
using avirt::host_disconnected;

/// A supervised connection to libvirt's test driver, whose only domain the tests change through another
/// connection.
struct feed_fixture : operations_fixture
{
    std::optional<avirt::supervised_connection> host;

    feed_fixture()
    {
        open_connection();
        host.emplace(io, options());
    }

    ~feed_fixture()
    {
        host.reset();
        static_cast<void>(change(virDomainResume)); // All tests share the domain.
    }

    static avirt::supervision_options options()
    {
        avirt::supervision_options o;
        o.open.uri = "test:///default";
        o.first_delay = 1ms;
        o.longest_delay = 4ms;
        return o;
    }

    error_code change(int (*function)(virDomainPtr))
    {
        outcome changed;
        conn.async_call(
            [function](virConnectPtr c) {
                const avirt::domain domain{virDomainLookupByName(c, "test")};
                return function(domain.get());
            },
            changed.handler());
        run_until_done(changed);
        return changed.ec();
    }

    template <class Source>
    std::pair<error_code, avirt::host_report> receive(Source& source)
    {
        std::optional<std::pair<error_code, avirt::host_report>> received;
        source.async_receive(
            [&](error_code ec, avirt::host_report r) { received.emplace(ec, std::move(r)); });
        BOOST_TEST(!received); // Never inside the initiating function.
        run_until([&] { return received.has_value(); });
        return std::move(*received);
    }

    template <class Report, class Source>
    Report expect(Source& source)
    {
        auto [ec, report] = receive(source);
        BOOST_TEST(ec == error_code());
        BOOST_REQUIRE(std::holds_alternative<Report>(report));
        return std::get<Report>(std::move(report));
    }

    template <class Source>
    void expect_state(Source& source, int state)
    {
        BOOST_TEST(expect<domain_changed>(source).status.state == state);
    }

    static outcome start_receiving(avirt::host_feed& feed, asio::cancellation_slot slot = {})
    {
        outcome received;
        feed.async_receive(asio::bind_cancellation_slot(
            slot, [h = received.handler()](error_code ec, avirt::host_report) mutable { h(ec); }));
        return received;
    }

    void run_until_idle()
    {
        run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
    }
};

BOOST_FIXTURE_TEST_SUITE(host_feed, feed_fixture)

BOOST_AUTO_TEST_CASE(each_feed_begins_with_the_present_state_and_follows_every_change)
{
    avirt::host_feed first{*host}; // Its receive starts the supervision.
    BOOST_TEST(expect<host_connected>(first).domains.at(0).state == int{VIR_DOMAIN_RUNNING});
    BOOST_TEST(!change(virDomainSuspend));
    const auto paused = expect<domain_changed>(first);
    BOOST_TEST(paused.status.state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(virDomainGetID(paused.status.domain.get()) == 1u);

    avirt::host_feed second{*host};
    const auto present = expect<host_connected>(second);
    BOOST_REQUIRE(present.domains.size() == 1u);
    BOOST_TEST(present.domains[0].name == "test");
    BOOST_TEST(present.domains[0].state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(virDomainGetID(present.domains[0].domain.get()) == 1u);
    BOOST_TEST(present.missed.empty());
    BOOST_TEST(!change(virDomainResume));
    expect_state(second, VIR_DOMAIN_RUNNING);
    expect_state(first, VIR_DOMAIN_RUNNING);

    // The supervised connection itself is a receiver like the others.
    BOOST_TEST(expect<host_connected>(*host).domains.at(0).state == int{VIR_DOMAIN_RUNNING});
}

BOOST_AUTO_TEST_CASE(a_feed_that_falls_behind_starts_over_and_the_others_do_not_notice)
{
    avirt::host_feed slow{*host, 3};
    avirt::host_feed fast{*host};
    expect<host_connected>(slow);
    expect<host_connected>(fast);
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST(!change(virDomainSuspend));
        expect_state(fast, VIR_DOMAIN_PAUSED);
        BOOST_TEST(!change(virDomainResume));
        expect_state(fast, VIR_DOMAIN_RUNNING);
    }
    BOOST_TEST(!change(virDomainSuspend));
    expect_state(fast, VIR_DOMAIN_PAUSED);
    BOOST_TEST((receive(slow).first == avirt::error::events_lost));
    const auto now = expect<host_connected>(slow);
    BOOST_TEST(now.domains.at(0).state == int{VIR_DOMAIN_PAUSED});
    BOOST_REQUIRE(now.missed.size() == 1u);
    BOOST_TEST(now.missed[0].status.name == "test");
    BOOST_TEST(now.missed[0].event == int{VIR_DOMAIN_EVENT_SUSPENDED});
    BOOST_TEST(!change(virDomainResume));
    expect_state(slow, VIR_DOMAIN_RUNNING);
}

BOOST_AUTO_TEST_CASE(cancelled_moved_and_destroyed)
{
    avirt::host_feed feed{*host};
    expect<host_connected>(feed);
    asio::cancellation_signal signal;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        const auto waiting = start_receiving(feed, signal.slot());
        BOOST_TEST((receive(feed).first == avirt::error::operation_in_progress));
        signal.emit(type);
        run_until_done(waiting);
        BOOST_TEST(waiting.ec() == aborted);
    }
    const auto cancelled = start_receiving(feed);
    feed.cancel();
    run_until_done(cancelled);
    BOOST_TEST(cancelled.ec() == aborted);
    BOOST_TEST(!change(virDomainSuspend));
    expect_state(feed, VIR_DOMAIN_PAUSED); // Nothing was lost.

    const auto moving = start_receiving(feed);
    auto moved = std::move(feed);
    feed.cancel(); // A moved-from feed has nothing to cancel.
    BOOST_TEST(!change(virDomainResume));
    run_until_done(moving);
    BOOST_TEST(moving.ec() == error_code());

    const auto replaced = start_receiving(moved);
    moved = avirt::host_feed{*host};
    run_until_done(replaced);
    BOOST_TEST(replaced.ec() == aborted);
    expect<host_connected>(moved);
}

BOOST_AUTO_TEST_CASE(the_end_of_the_host)
{
    avirt::host_feed feed{*host};
    expect<host_connected>(feed);
    const auto waiting = start_receiving(feed);
    host->close();
    run_until_done(waiting);
    BOOST_TEST(waiting.ec() == aborted);
    BOOST_TEST((receive(feed).first == avirt::error::not_open));
    avirt::host_feed late{*host};
    BOOST_TEST((receive(late).first == avirt::error::not_open));
    host.reset();
    BOOST_TEST((receive(feed).first == avirt::error::not_open));
}

BOOST_AUTO_TEST_CASE(destroyed_inside_its_own_handler)
{
    std::optional<avirt::host_feed> feed{std::in_place, *host};
    bool is_done = false;
    feed->async_receive([&](error_code ec, avirt::host_report) {
        BOOST_TEST(ec == error_code());
        feed.reset();
        host.reset();
        is_done = true;
    });
    run_until([&] { return is_done; });
}

BOOST_AUTO_TEST_CASE(a_feed_may_outlive_its_context)
{
    std::optional<asio::io_context> other{std::in_place};
    std::optional<avirt::supervised_connection> supervised{std::in_place, *other, options()};
    avirt::host_feed feed{*supervised};
    const auto held = std::make_shared<int>();
    feed.async_receive([held](error_code, avirt::host_report) { BOOST_ERROR("called without a context"); });
    BOOST_TEST(held.use_count() == 2);
    supervised.reset();
    other.reset();
    BOOST_TEST(held.use_count() == 1);
    run_until_idle();
}

BOOST_AUTO_TEST_CASE(no_daemon)
{
    auto away = options();
    away.open.uri = "qemu+unix:///session?socket=/nonexistent/socket";
    host.emplace(io, away);
    avirt::host_feed first{*host};
    expect<host_disconnected>(first);
    avirt::host_feed second{*host};
    const auto present = expect<host_disconnected>(second);
    BOOST_TEST(present.details.message.find("/nonexistent/socket") != std::string::npos);
    avirt::error_details why;
    outcome called;
    host->connection().async_call(virConnectNumOfDomains, avirt::with_details(called.handler(), why));
    run_until_done(called);
    BOOST_TEST(called.ec() == avirt::error::not_open);
    BOOST_TEST(why.message == present.details.message);
}

BOOST_AUTO_TEST_CASE(a_retry_does_not_wait_out_the_delay)
{
    auto away = options();
    away.open.uri = "qemu+unix:///session?socket=/nonexistent/socket";
    away.first_delay = away.longest_delay = std::chrono::hours(1);
    host.emplace(io, away);
    host->retry_now(); // It has not begun.
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST((expect<host_disconnected>(*host).retry_in > std::chrono::minutes(50)));
        // The delay begins when the report has been made.
        run_until_idle();
        host->retry_now();
    }
    expect<host_disconnected>(*host);
}

BOOST_AUTO_TEST_CASE(waiting_for_a_state)
{
    const auto wait_for = [&](const std::string& name, int state) {
        outcome waited;
        avirt::async_wait_for_state(*host, name, state, waited.handler());
        return waited;
    };
    const auto present = wait_for("test", VIR_DOMAIN_RUNNING); // It starts the supervision.
    run_until_done(present);
    BOOST_TEST(present.ec() == error_code());
    const auto unknown = wait_for("no such domain", VIR_DOMAIN_RUNNING);
    run_until_done(unknown);
    BOOST_TEST((unknown.ec() == avirt::condition::not_found));
    BOOST_TEST(unknown.ec().message().find("no ") != std::string::npos);

    const auto paused = wait_for("6695eb01-f6a4-8304-79aa-97f2502e193f", VIR_DOMAIN_PAUSED);
    run_until_idle();
    BOOST_TEST(!paused);
    BOOST_TEST(!change(virDomainSuspend));
    run_until_done(paused);
    BOOST_TEST(paused.ec() == error_code());

    const auto closed = wait_for("test", VIR_DOMAIN_RUNNING);
    run_until_idle();
    host->close();
    run_until_done(closed);
    BOOST_TEST(closed.ec() == aborted);
    const auto late = wait_for("test", VIR_DOMAIN_RUNNING);
    run_until_done(late);
    BOOST_TEST((late.ec() == avirt::error::not_open));
}

BOOST_AUTO_TEST_CASE(a_wait_is_cancelled)
{
    asio::cancellation_signal signal;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        outcome waited;
        avirt::async_wait_for_state(
            *host, "test", VIR_DOMAIN_CRASHED, asio::bind_cancellation_slot(signal.slot(), waited.handler()));
        run_until_idle();
        signal.emit(type);
        run_until_done(waited);
        BOOST_TEST(waited.ec() == aborted);
    }
}

BOOST_AUTO_TEST_CASE(a_wait_is_cancelled_while_a_report_is_on_its_way)
{
    for (int turns = 0; turns < 40; ++turns) {
        asio::cancellation_signal signal;
        outcome waited, changed;
        avirt::async_wait_for_state(
            *host, "test", VIR_DOMAIN_CRASHED, asio::bind_cancellation_slot(signal.slot(), waited.handler()));
        run_until_idle();
        const auto function = turns % 2 == 0 ? virDomainSuspend : virDomainResume;
        conn.async_call(
            [function](virConnectPtr c) {
                const avirt::domain domain{virDomainLookupByName(c, "test")};
                return function(domain.get());
            },
            changed.handler());
        // Whatever handler comes next when the signal is emitted.
        for (int run = 0, in_vain = 0; run < turns && in_vain < 10'000;) {
            io.restart();
            io.poll_one() == 0 ? ++in_vain : ++run;
        }
        signal.emit(asio::cancellation_type::terminal);
        run_until_done(waited);
        BOOST_TEST(waited.ec() == aborted);
        run_until_done(changed);
    }
}

BOOST_AUTO_TEST_CASE(eight_threads_use_one_host)
{
    io.restart(); // It may have run out of work before.
    const auto work = asio::make_work_guard(io);
    std::vector<std::thread> runners;
    for (int i = 0; i < 2; ++i)
        runners.emplace_back([&] { io.run(); });
    std::atomic<int> received{0};
    std::vector<std::thread> users;
    for (int i = 0; i < 8; ++i) {
        users.emplace_back([&] {
            for (int round = 0; round < 20; ++round) {
                avirt::host_feed feed{*host};
                const auto report = feed.async_receive(asio::use_future).get();
                if (std::holds_alternative<host_connected>(report))
                    ++received;
                avirt::async_wait_for_state(*host, "test", VIR_DOMAIN_RUNNING, asio::use_future).get();
                host->connection().async_call(virConnectNumOfDomains, asio::use_future).get();
                host->retry_now();
            }
        });
    }
    for (auto& u : users)
        u.join();
    BOOST_TEST(received == 160);
    io.stop();
    for (auto& r : runners)
        r.join();
    io.restart();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
