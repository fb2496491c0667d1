// SPDX-License-Identifier: BSL-1.0
#include "event_operations.hpp"
#include "operations.hpp"

#include <avirt/supervised_connection.hpp>
#include <support/fake_libvirtd.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;

/// A plain and a supervised connection to libvirt's test driver, whose only domain the tests change through
/// the plain one.
struct supervision_rig : with_events<operations_fixture>
{
    avirt::supervision_options options;
    std::optional<avirt::supervised_connection> host;

    supervision_rig()
    {
        open_connection();
        options.open.uri = "test:///default";
        options.first_delay = 1ms;
        options.longest_delay = 4ms;
    }

    ~supervision_rig()
    {
        host.reset();
        static_cast<void>(change(virDomainResume)); // All tests share the domain.
        static_cast<void>(change(virDomainCreate));
    }

    void supervise()
    {
        host.emplace(io, options);
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

    std::pair<error_code, avirt::host_report> receive_report()
    {
        std::optional<std::pair<error_code, avirt::host_report>> received;
        host->async_receive([&](error_code ec, avirt::host_report r) { received.emplace(ec, std::move(r)); });
        BOOST_TEST(!received); // Never inside the initiating function.
        run_until([&] { return received.has_value(); });
        return std::move(*received);
    }

    template <class Report>
    Report expect()
    {
        auto [ec, report] = receive_report();
        BOOST_TEST(ec == error_code());
        BOOST_REQUIRE(std::holds_alternative<Report>(report));
        return std::get<Report>(std::move(report));
    }

    void expect_state(int state)
    {
        const auto changed = expect<avirt::domain_changed>();
        BOOST_TEST(changed.status.name == "test");
        BOOST_TEST(changed.status.state == state);
        BOOST_TEST(!changed.is_gone);
    }

    outcome start_receiving(asio::cancellation_slot slot = {})
    {
        outcome received;
        host->async_receive(asio::bind_cancellation_slot(
            slot, [h = received.handler()](error_code ec, avirt::host_report) mutable { h(ec); }));
        return received;
    }
};

BOOST_FIXTURE_TEST_SUITE(supervised_connection, supervision_rig)

BOOST_AUTO_TEST_CASE(present_state_and_changes)
{
    supervise();
    const auto connected = expect<avirt::host_connected>();
    BOOST_REQUIRE(connected.domains.size() == 1u);
    const auto& test = connected.domains[0];
    BOOST_TEST(test.name == "test");
    BOOST_TEST(test.uuid.size() == 36u);
    BOOST_TEST(test.state == int{VIR_DOMAIN_RUNNING});
    BOOST_TEST(virDomainGetID(test.domain.get()) == 1u);
    BOOST_TEST(host->connection().is_open());

    BOOST_TEST(!change(virDomainSuspend));
    const auto suspended = expect<avirt::domain_changed>();
    BOOST_TEST(suspended.event == int{VIR_DOMAIN_EVENT_SUSPENDED});
    BOOST_TEST(suspended.detail == int{VIR_DOMAIN_EVENT_SUSPENDED_PAUSED});
    BOOST_TEST(suspended.status.state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(suspended.status.reason == int{VIR_DOMAIN_PAUSED_USER});
    BOOST_TEST(suspended.status.uuid == test.uuid);
    BOOST_TEST(!change(virDomainResume));
    expect_state(VIR_DOMAIN_RUNNING);
    BOOST_TEST(!change(virDomainDestroy));
    expect_state(VIR_DOMAIN_SHUTOFF);
    BOOST_TEST(!change(virDomainCreate));
    expect_state(VIR_DOMAIN_RUNNING);
}

BOOST_AUTO_TEST_CASE(a_domain_that_ceases_to_exist)
{
    supervise();
    expect<avirt::host_connected>();
    outcome created;
    conn.async_call(
        [](virConnectPtr c) {
            const char* xml = "<domain type='test'><name>brief</name><memory>1024</memory>"
                              "<os><type>hvm</type></os></domain>";
            const avirt::domain brief{virDomainCreateXML(c, xml, 0)};
            return brief ? virDomainDestroy(brief.get()) : -1;
        },
        created.handler());
    run_until_done(created);
    BOOST_TEST(created.ec() == error_code());
    avirt::domain_changed last;
    do
        last = expect<avirt::domain_changed>(); // The first report may already say that it is gone.
    while (last.event != VIR_DOMAIN_EVENT_STOPPED);
    BOOST_TEST(last.is_gone);
    BOOST_TEST(last.status.name == "brief");
    BOOST_TEST(last.status.state == int{VIR_DOMAIN_NOSTATE});
}

BOOST_AUTO_TEST_CASE(events_are_lost_if_nothing_is_received)
{
    options.capacity = 3;
    supervise();
    expect<avirt::host_connected>();
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST(!change(virDomainSuspend));
        BOOST_TEST(!change(virDomainResume));
    }
    BOOST_TEST(!change(virDomainSuspend));
    run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
    BOOST_TEST((receive_report().first == avirt::error::events_lost));
    const auto now = expect<avirt::host_connected>();
    BOOST_REQUIRE(now.domains.size() == 1u);
    BOOST_TEST(now.domains[0].state == int{VIR_DOMAIN_PAUSED});
    BOOST_REQUIRE(now.missed.size() == 1u);
    BOOST_TEST(now.missed[0].status.name == "test");
    BOOST_TEST(!change(virDomainResume));
    expect_state(VIR_DOMAIN_RUNNING);
}

BOOST_AUTO_TEST_CASE(no_daemon)
{
    options.open.uri = "qemu+unix:///session?socket=/nonexistent/socket";
    supervise();
    for (const auto delay : {1ms, 2ms, 4ms, 4ms}) {
        const auto away = expect<avirt::host_disconnected>();
        BOOST_TEST(away.error.failed());
        BOOST_TEST(away.details.message.find("/nonexistent/socket") != std::string::npos);
        BOOST_TEST(away.retry_in.count() >= delay.count());
        BOOST_TEST(away.retry_in.count() <= 4);
        BOOST_TEST(!host->connection().is_open());
    }
}

BOOST_AUTO_TEST_CASE(followed_event_sources)
{
    supervise();
    lifecycle_source source{host->connection()};
    const auto first = start_receive(source);
    run_until_done(first);
    BOOST_TEST((first.ec() == avirt::error::not_open)); // It is not followed yet.
    host->follow(source);
    expect<avirt::host_connected>();
    BOOST_TEST((subscribe(source) == avirt::error::already_open));
    BOOST_TEST(!change(virDomainSuspend));
    BOOST_TEST(receive(source).second.event == int{VIR_DOMAIN_EVENT_SUSPENDED});

    lifecycle_source late{host->connection()};
    host->follow(late);
    const auto waiting = start_receive(late);
    while (subscribe(late) != avirt::error::already_open)
        ; // operation_in_progress until then
    BOOST_TEST(!change(virDomainResume));
    run_until_done(waiting);
    BOOST_TEST(waiting.ec() == error_code());

    BOOST_TEST(!unsubscribe(late));
    BOOST_TEST((receive(late).first == avirt::error::not_open));
    BOOST_TEST(receive(source).second.event == int{VIR_DOMAIN_EVENT_RESUMED});
    const auto ended = start_receive(source);
    host->close();
    run_until_done(ended);
    BOOST_TEST((ended.ec() == avirt::error::not_open));
}

BOOST_AUTO_TEST_CASE(cancelled_closed_and_destroyed)
{
    supervise();
    expect<avirt::host_connected>();
    asio::cancellation_signal signal;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        const auto waiting = start_receiving(signal.slot());
        BOOST_TEST((receive_report().first == avirt::error::operation_in_progress));
        signal.emit(type);
        run_until_done(waiting);
        BOOST_TEST(waiting.ec() == aborted);
    }
    const auto cancelled = start_receiving();
    host->cancel();
    run_until_done(cancelled);
    BOOST_TEST(cancelled.ec() == aborted);
    BOOST_TEST(!change(virDomainSuspend));
    expect_state(VIR_DOMAIN_PAUSED); // Nothing was lost.

    const auto closed = start_receiving();
    host->close();
    run_until_done(closed);
    BOOST_TEST(closed.ec() == aborted);
    BOOST_TEST((receive_report().first == avirt::error::not_open));
    lifecycle_source late{host->connection()};
    host->follow(late);
    BOOST_TEST((receive(late).first == avirt::error::not_open));

    supervise();
    expect<avirt::host_connected>();
    const auto destroyed = start_receiving();
    host.reset();
    run_until_done(destroyed);
    BOOST_TEST(destroyed.ec() == aborted);
}

BOOST_AUTO_TEST_CASE(destroyed_at_any_moment)
{
    for (int turns = 0; turns < 40; ++turns) {
        supervise();
        const auto waiting = start_receiving();
        for (int i = 0; i < turns; ++i)
            io.poll_one();
        host.reset();
        run_until_done(waiting);
        BOOST_TEST(waiting.calls() == 1);
    }
}

BOOST_AUTO_TEST_SUITE_END()

/// A daemon whose driver reports no events, as is the case with some drivers.
struct eventless_rig : supervision_rig
{
    std::mutex mutex;
    std::optional<support::fake_libvirtd::session> client; // the last one to register for events
    support::fake_libvirtd daemon{
        [this](const auto& session, const auto&) {
            const std::lock_guard guard(mutex);
            client = session;
        },
        support::fake_libvirtd::event_style::none};

    eventless_rig()
    {
        options.open.uri = daemon.uri();
    }

    ~eventless_rig()
    {
        host->close();
        run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
    }

    void disconnect()
    {
        const std::lock_guard guard(mutex);
        client->close();
    }
};

namespace {

/// A daemon that answers the registration for one event only when told to.
struct waiting_rig : supervision_rig
{
    static constexpr int waits_at = VIR_DOMAIN_EVENT_ID_RTC_CHANGE;

    std::promise<void> is_asked, may_answer;
    std::mutex mutex;
    std::vector<int> asked_for;
    support::fake_libvirtd daemon{[this](const auto&, const auto& what) {
        {
            const std::lock_guard guard(mutex);
            asked_for.push_back(what.event);
        }
        if (what.event == waits_at) {
            is_asked.set_value();
            may_answer.get_future().wait();
        }
    }};

    waiting_rig()
    {
        options.open.uri = daemon.uri();
        supervise();
    }

    ~waiting_rig()
    {
        host->close();
        run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
    }

    bool has_asked_for(int event)
    {
        const std::lock_guard guard(mutex);
        return std::ranges::find(asked_for, event) != asked_for.end();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(supervised_connection_that_follows, waiting_rig)

BOOST_AUTO_TEST_CASE(a_source_that_is_destroyed_while_another_is_subscribed)
{
    avirt::event_source<avirt::domain_rtc_change> first{host->connection()};
    std::optional<avirt::event_source<avirt::domain_reboot>> second{host->connection()};
    avirt::event_source<avirt::domain_watchdog> third{host->connection()};
    host->follow(first);
    host->follow(*second);
    host->follow(third);
    std::optional<avirt::error_code> reported;
    host->async_receive([&](error_code ec, auto&&) { reported = ec; });
    auto asked = is_asked.get_future();
    run_until([&] { return asked.wait_for(0s) == std::future_status::ready; });
    second.reset();
    may_answer.set_value();
    run_until([&] { return reported.has_value(); });
    BOOST_TEST(*reported == error_code());
    BOOST_TEST(has_asked_for(VIR_DOMAIN_EVENT_ID_WATCHDOG));
    BOOST_TEST(!has_asked_for(VIR_DOMAIN_EVENT_ID_REBOOT));
}

BOOST_AUTO_TEST_CASE(closed_while_a_source_is_subscribed)
{
    avirt::event_source<avirt::domain_rtc_change> first{host->connection()};
    avirt::event_source<avirt::domain_reboot> second{host->connection()};
    host->follow(first);
    host->follow(second);
    outcome reported;
    host->async_receive([h = reported.handler()](error_code ec, auto&&) mutable { h(ec); });
    auto asked = is_asked.get_future();
    run_until([&] { return asked.wait_for(0s) == std::future_status::ready; });
    const auto first_received = start_receive(first), second_received = start_receive(second);
    host->close();
    may_answer.set_value();
    run_until_done(first_received);
    run_until_done(second_received);
    check(first_received, avirt::error::not_open);
    check(second_received, avirt::error::not_open);
    BOOST_TEST(!has_asked_for(VIR_DOMAIN_EVENT_ID_REBOOT));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(supervised_connection_to_a_silent_daemon, supervision_rig)

BOOST_AUTO_TEST_CASE(it_says_that_the_daemon_does_not_answer)
{
    std::promise<void> may_answer;
    const auto answer = may_answer.get_future().share();
    support::fake_libvirtd daemon{[&](const auto&, const auto&) { answer.wait(); }};
    options.open.uri = daemon.uri();
    options.open.timeout = 200ms;
    options.open.keepalive_interval = 0s;
    supervise();
    const auto silent = expect<avirt::host_disconnected>();
    BOOST_TEST((silent.error == avirt::condition::timed_out));
    BOOST_TEST(silent.details.message.find("does not answer") != std::string::npos);
    may_answer.set_value();
    while (!std::holds_alternative<avirt::host_connected>(receive_report().second))
        ;
    host->close();
    run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(supervised_connection_without_events, eventless_rig)

BOOST_AUTO_TEST_CASE(it_reconnects)
{
    supervise();
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST(expect<avirt::host_connected>().domains.empty());
        disconnect();
        BOOST_TEST((expect<avirt::host_disconnected>().error == avirt::condition::connection_lost));
    }
    lifecycle_source source{host->connection()};
    host->follow(source);
    BOOST_TEST((receive(source).first == avirt::condition::not_supported));
}

BOOST_AUTO_TEST_CASE(events_are_lost_if_nothing_is_received)
{
    options.capacity = 1;
    supervise();
    expect<avirt::host_connected>();
    disconnect();
    run_until(
        [&] { return daemon.registrations() == 2 && io.poll() == 0 && loop.stats().running_calls == 0; });
    BOOST_TEST((receive_report().first == avirt::error::events_lost));
    expect<avirt::host_connected>();
    const auto waiting = start_receiving();
    host->close();
    run_until_done(waiting);
    BOOST_TEST(waiting.ec() == aborted);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(supervised_connection_alone)

BOOST_AUTO_TEST_CASE(without_a_loop)
{
    asio::io_context io;
    avirt::supervised_connection host{io};
    outcome received;
    host.async_receive([h = received.handler()](error_code ec, avirt::host_report) mutable { h(ec); });
    io.run();
    BOOST_TEST((received.ec() == avirt::error::no_event_loop));
}

BOOST_AUTO_TEST_CASE(the_context_ends_first)
{
    bool is_gone = false;
    std::unique_ptr<avirt::supervised_connection> host;
    {
        asio::io_context io;
        avirt::event_loop loop{io};
        avirt::supervision_options options;
        options.open.uri = "test:///default";
        host = std::make_unique<avirt::supervised_connection>(io, options);
        int reports = 0;
        asio::co_spawn(
            io,
            [&]() -> asio::awaitable<void> {
                const std::shared_ptr<void> guard(nullptr, [&](void*) { is_gone = true; });
                for (;; ++reports)
                    co_await host->async_receive(asio::use_awaitable);
            },
            asio::detached);
        support::run_until(io, [&] { return reports == 1; });
        BOOST_TEST(!is_gone);
    }
    BOOST_TEST(is_gone);
}

BOOST_AUTO_TEST_SUITE_END()

// ------------------------------------------------------------------------------------- async_wait_for_state

struct state_rig : supervision_rig
{
    outcome wait_for(int state, const std::string& name = "test", asio::cancellation_slot slot = {})
    {
        outcome waited;
        avirt::async_wait_for_state(conn, name, state, asio::bind_cancellation_slot(slot, waited.handler()));
        return waited;
    }

    void settle()
    {
        // Until the wait has subscribed, for which libvirt adds a timeout, and has asked for the state.
        run_until(
            [&] { return loop.stats().timeouts > 0 && io.poll() == 0 && loop.stats().running_calls == 0; });
    }
};

BOOST_FIXTURE_TEST_SUITE(wait_for_state, state_rig)

BOOST_AUTO_TEST_CASE(the_domain_is_in_the_state)
{
    const auto waited = wait_for(VIR_DOMAIN_RUNNING);
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(the_domain_reaches_the_state)
{
    const auto waited = wait_for(VIR_DOMAIN_SHUTOFF);
    settle();
    BOOST_TEST(!waited);
    BOOST_TEST(!change(virDomainSuspend));
    settle();
    BOOST_TEST(!waited);
    BOOST_TEST(!change(virDomainDestroy));
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(the_domain_is_in_the_state_for_a_moment)
{
    const auto waited = wait_for(VIR_DOMAIN_PAUSED);
    settle();
    outcome changed;
    conn.async_call(
        [](virConnectPtr c) {
            const avirt::domain domain{virDomainLookupByName(c, "test")};
            return virDomainSuspend(domain.get()) < 0 ? -1 : virDomainResume(domain.get());
        },
        changed.handler());
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(by_uuid)
{
    std::string uuid(VIR_UUID_STRING_BUFLEN, '\0');
    outcome asked;
    conn.async_call(
        [&](virConnectPtr c) {
            const avirt::domain domain{virDomainLookupByName(c, "test")};
            return virDomainGetUUIDString(domain.get(), uuid.data());
        },
        asked.handler());
    run_until_done(asked);
    const auto waited = wait_for(VIR_DOMAIN_RUNNING, uuid.c_str());
    run_until_done(waited);
    BOOST_TEST(waited.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(there_is_no_such_domain)
{
    const auto waited = wait_for(VIR_DOMAIN_RUNNING, "nobody");
    run_until_done(waited);
    BOOST_TEST((waited.ec() == avirt::condition::not_found));
    conn.close();
    const auto again = wait_for(VIR_DOMAIN_RUNNING);
    run_until_done(again);
    BOOST_TEST((again.ec() == avirt::error::not_open));
    open_connection();
}

BOOST_AUTO_TEST_CASE(the_domain_ceases_to_exist)
{
    for (const int state : {int{VIR_DOMAIN_SHUTOFF}, int{VIR_DOMAIN_PAUSED}}) {
        outcome created;
        conn.async_call(
            [](virConnectPtr c) {
                const char* xml = "<domain type='test'><name>brief</name><memory>1024</memory>"
                                  "<os><type>hvm</type></os></domain>";
                return avirt::domain(virDomainCreateXML(c, xml, 0));
            },
            [h = created.handler()](error_code ec, auto&&) mutable { h(ec); });
        run_until_done(created);
        const auto waited = wait_for(state, "brief");
        settle();
        BOOST_TEST(!waited);
        outcome destroyed;
        conn.async_call(
            [](virConnectPtr c) {
                const avirt::domain brief{virDomainLookupByName(c, "brief")};
                return virDomainDestroy(brief.get());
            },
            destroyed.handler());
        run_until_done(waited);
        if (state == VIR_DOMAIN_SHUTOFF)
            BOOST_TEST(waited.ec() == error_code());
        else
            BOOST_TEST((waited.ec() == avirt::condition::not_found));
    }
}

BOOST_AUTO_TEST_CASE(cancelled)
{
    asio::cancellation_signal signal;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        for (const bool at_once : {true, false}) {
            const auto waited = wait_for(VIR_DOMAIN_PAUSED, "test", signal.slot());
            if (!at_once)
                settle();
            signal.emit(type);
            run_until_done(waited);
            BOOST_TEST(waited.ec() == aborted);
        }
    }
    BOOST_TEST(!change(virDomainSuspend)); // The connection is not affected.
}

BOOST_AUTO_TEST_CASE(it_ends_with_the_operations_of_its_connection)
{
    for (const bool at_once : {true, false}) {
        for (int way = 0; way < 4; ++way) {
            const auto waited = wait_for(VIR_DOMAIN_PAUSED);
            if (!at_once)
                settle();
            outcome closed;
            switch (way) {
            case 0:
                conn.cancel();
                break;
            case 1:
                conn.close();
                break;
            case 2:
                conn.async_close(closed.handler());
                break;
            default:
                virConnectClose(conn.release());
            }
            run_until_done(waited);
            BOOST_TEST(waited.ec() == aborted);
            if (way == 2)
                run_until_done(closed);
            if (!conn.is_open())
                open_connection();
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
