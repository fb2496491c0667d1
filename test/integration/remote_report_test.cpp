// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <support/gate.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

// What the loop reports about real connections: which of them delayed it, and how much is registered and
// pending.

namespace {

namespace data = boost::unit_test::data;
using namespace std::chrono_literals;

std::set<int> open_sockets()
{
    std::set<int> numbers;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        if (std::filesystem::read_symlink(entry.path(), ignored).string().starts_with("socket:"))
            numbers.insert(std::stoi(entry.path().filename().string()));
    }
    return numbers;
}

/// A loop that reports slow callbacks, and an application whose callbacks are slow.
struct slow_fixture
{
    struct limit
    {
        static constexpr auto value = 2ms;
    };

    std::vector<avirt::slow_callback_report> reports; // of the callbacks in which delay_loop() was called
    bool was_delayed = false;
    asio::io_context io;
    avirt::event_loop loop{
        io, {.slow_callback = limit::value, .on_slow_callback = [this](const avirt::slow_callback_report& r) {
                 if (std::exchange(was_delayed, false))
                     reports.push_back(r);
             }}};
    avirt::connection conn{io};

    ~slow_fixture()
    {
        conn.close();
        BOOST_CHECK_NO_THROW(support::run_to_end(io));
    }

    /// Called in libvirt's callbacks, as a slow application would.
    void delay_loop()
    {
        was_delayed = true;
        const auto until = std::chrono::steady_clock::now() + limit::value;
        while (std::chrono::steady_clock::now() < until)
            continue;
    }

    void run_until_done(const outcome& o)
    {
        support::run_until(io, [&] { return o.calls() > 0; });
        BOOST_REQUIRE_EQUAL(o.ec(), error_code());
    }

    void open(const std::string& uri)
    {
        outcome opened;
        conn.async_open(uri, opened.handler());
        run_until_done(opened);
    }

    template <class Function>
    void call(Function function)
    {
        outcome called;
        conn.async_call(function, called.handler());
        run_until_done(called);
    }

    void run_until_reported()
    {
        support::run_until(io, [&] { return !reports.empty(); });
    }

    static void on_domain_event(virConnectPtr, virDomainPtr, int, int, void* self)
    {
        static_cast<slow_fixture*>(self)->delay_loop();
    }
    static void on_pool_event(virConnectPtr, virStoragePoolPtr, int, int, void* self)
    {
        static_cast<slow_fixture*>(self)->delay_loop();
    }
    static void on_close(virConnectPtr, int, void* self)
    {
        static_cast<slow_fixture*>(self)->delay_loop();
    }

    int register_domain_events(virConnectPtr c)
    {
        return domain_events = virConnectDomainEventRegisterAny(
                   c, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(&on_domain_event),
                   this, nullptr);
    }
    int register_pool_events(virConnectPtr c)
    {
        return pool_events = virConnectStoragePoolEventRegisterAny(
                   c, nullptr, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
                   VIR_STORAGE_POOL_EVENT_CALLBACK(&on_pool_event), this, nullptr);
    }

    int domain_events = -1;
    int pool_events = -1;
};

void suspend_and_resume(virConnectPtr c)
{
    const avirt::domain domain(virDomainLookupByName(c, "test"));
    if (!domain || virDomainSuspend(domain.get()) < 0 || virDomainResume(domain.get()) < 0)
        avirt::throw_last_error();
}

void create_and_destroy_pool(virConnectPtr c)
{
    virStoragePoolPtr pool = virStoragePoolCreateXML(c, shared_daemon().pool_xml().c_str(), 0);
    if (!pool || virStoragePoolDestroy(pool) < 0)
        avirt::throw_last_error();
    virStoragePoolFree(pool);
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_report, slow_fixture)

BOOST_DATA_TEST_CASE(an_event_callback_in_this_process, data::make({true, false}), is_registered_in_a_call)
{
    open("test:///default");
    if (is_registered_in_a_call)
        call([this](virConnectPtr c) { return register_domain_events(c); });
    else
        BOOST_TEST(register_domain_events(conn.native_handle()) >= 0);
    call(suspend_and_resume);
    run_until_reported();
    BOOST_TEST(reports[0].is_timeout);
    BOOST_TEST(reports[0].fd == -1);
    BOOST_TEST(reports[0].id > 0);
    BOOST_TEST((reports[0].took >= limit::value));
    // Outside a call avirt cannot know to which connection the callback belongs.
    BOOST_TEST(reports[0].connection_uri == (is_registered_in_a_call ? "test:///default" : ""));
    call([this](virConnectPtr c) { return virConnectDomainEventDeregisterAny(c, domain_events); });
}

BOOST_AUTO_TEST_CASE(an_event_callback_for_a_daemon)
{
    open(shared_daemon().uri());
    call([this](virConnectPtr c) { return register_pool_events(c); });
    call(create_and_destroy_pool);
    run_until_reported();
    BOOST_TEST(reports[0].is_timeout);
    BOOST_TEST(reports[0].fd == -1);
    BOOST_TEST(reports[0].id > 0);
    BOOST_TEST(reports[0].connection_uri == shared_daemon().uri());
    call([this](virConnectPtr c) { return virConnectStoragePoolEventDeregisterAny(c, pool_events); });
}

BOOST_AUTO_TEST_CASE(a_close_callback_on_a_connections_socket)
{
    support::libvirtd daemon;
    const auto before = open_sockets();
    open(daemon.uri());
    auto opened = open_sockets();
    std::erase_if(opened, [&](int fd) { return before.contains(fd); });
    BOOST_REQUIRE_EQUAL(opened.size(), 1u);
    // Registered outside a call: avirt knows the connection by its socket.
    BOOST_TEST(virConnectRegisterCloseCallback(conn.native_handle(), on_close, this, nullptr) == 0);
    daemon.kill();
    run_until_reported();
    BOOST_TEST(!reports[0].is_timeout);
    BOOST_TEST(reports[0].fd == *opened.begin());
    BOOST_TEST(reports[0].id > 0);
    BOOST_TEST((reports[0].took >= limit::value));
    BOOST_TEST(reports[0].connection_uri == daemon.uri());
}

BOOST_AUTO_TEST_CASE(callbacks_of_two_connections_are_told_apart)
{
    open(shared_daemon().uri());
    call([this](virConnectPtr c) { return register_pool_events(c); });
    avirt::connection other(io);
    outcome opened;
    other.async_open("test:///default", opened.handler());
    run_until_done(opened);
    outcome registered, provoked;
    other.async_call([this](virConnectPtr c) { return register_domain_events(c); }, registered.handler());
    run_until_done(registered);
    other.async_call(suspend_and_resume, provoked.handler());
    call(create_and_destroy_pool);
    const auto is_reported = [&](const std::string& uri) {
        return std::any_of(
            reports.begin(), reports.end(), [&](const auto& r) { return r.connection_uri == uri; });
    };
    support::run_until(
        io, [&] { return is_reported("test:///default") && is_reported(shared_daemon().uri()); });
    BOOST_TEST(!is_reported(""));
    call([this](virConnectPtr c) { return virConnectStoragePoolEventDeregisterAny(c, pool_events); });
    outcome deregistered;
    other.async_call(
        [this](virConnectPtr c) { return virConnectDomainEventDeregisterAny(c, domain_events); },
        deregistered.handler());
    run_until_done(deregistered);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(remote_stats)

BOOST_FIXTURE_TEST_CASE(watches_and_timeouts_of_connections, slow_fixture)
{
    open("test:///default");
    BOOST_TEST(loop.stats().watches == 0u);
    BOOST_TEST(loop.stats().timeouts == 0u);
    call([this](virConnectPtr c) { return register_domain_events(c); });
    BOOST_TEST(loop.stats().timeouts == 1u);

    avirt::connection remote(io);
    avirt::open_options options{shared_daemon().uri()};
    options.keepalive_interval = 0s;
    outcome opened;
    remote.async_open(options, opened.handler());
    run_until_done(opened);
    BOOST_TEST(loop.stats().watches == 1u);
    BOOST_TEST(loop.stats().timeouts == 1u);
    outcome registered;
    remote.async_call([this](virConnectPtr c) { return register_pool_events(c); }, registered.handler());
    run_until_done(registered);
    BOOST_TEST(loop.stats().timeouts == 2u);

    avirt::connection kept_alive(io);
    outcome opened_too;
    kept_alive.async_open(shared_daemon().uri(), opened_too.handler());
    run_until_done(opened_too);
    BOOST_TEST(loop.stats().watches == 2u);
    BOOST_TEST(loop.stats().timeouts == 3u);

    call([this](virConnectPtr c) { return virConnectDomainEventDeregisterAny(c, domain_events); });
    outcome deregistered;
    remote.async_call(
        [this](virConnectPtr c) { return virConnectStoragePoolEventDeregisterAny(c, pool_events); },
        deregistered.handler());
    run_until_done(deregistered);
    BOOST_TEST(loop.stats().timeouts == 1u);
    remote.close();
    kept_alive.close();
    support::run_until(io, [&] { return loop.is_idle(); });
    BOOST_TEST(loop.stats().watches == 0u);
    BOOST_TEST(loop.stats().timeouts == 0u);
    BOOST_TEST(loop.stats().pending_frees == 0u);
}

BOOST_FIXTURE_TEST_CASE(pending_frees, support::loop_fixture)
{
    virConnectPtr c = virConnectOpen(shared_daemon().uri().c_str());
    BOOST_REQUIRE(c);
    BOOST_TEST(virConnectSetKeepAlive(c, 5, 5) == 0);
    BOOST_TEST(loop.stats().pending_frees == 0u);
    BOOST_TEST(virConnectClose(c) == 0);
    BOOST_TEST(loop.stats().watches == 0u);
    BOOST_TEST(loop.stats().timeouts == 0u);
    BOOST_TEST(loop.stats().pending_frees == 2u); // the socket's watch and the keepalive timeout
    support::run_to_end(io);
    BOOST_TEST(loop.stats().pending_frees == 0u);
}

BOOST_AUTO_TEST_CASE(calls_to_a_stopped_daemon)
{
    support::libvirtd daemon;
    support::gate gate;
    support::loop_fixture fixture({.max_threads = 3});
    auto& loop = fixture.loop;
    const auto is_busy = [&](std::size_t running, std::size_t queued, std::size_t abandoned) {
        const auto s = loop.stats();
        return s.running_calls == running && s.queued_calls == queued && s.abandoned_calls == abandoned;
    };
    const auto open = [&](avirt::connection& c, const std::string& uri) {
        outcome opened;
        c.async_open(uri, opened.handler());
        fixture.run_until([&] { return opened.calls() > 0; });
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    };
    avirt::connection remote[4] = {
        avirt::connection(fixture.io), avirt::connection(fixture.io), avirt::connection(fixture.io),
        avirt::connection(fixture.io)};
    for (auto& c : remote)
        open(c, daemon.uri());
    avirt::connection local(fixture.io);
    open(local, "test:///default");
    fixture.run_until([&] { return is_busy(0, 0, 0); });

    // A call inside this process cannot be interrupted.
    outcome stuck;
    local.async_call(gate.entry(), stuck.handler());
    fixture.run_until([&] { return is_busy(1, 0, 0) && gate.arrived() == 1; });
    local.cancel();
    BOOST_TEST(is_busy(0, 0, 1));

    daemon.freeze();
    outcome called[4];
    for (int i = 0; i < 4; ++i)
        remote[i].async_call(virConnectNumOfDomains, called[i].handler());
    fixture.run_until([&] { return is_busy(2, 2, 1); });
    // The release of a lost connection may also wait for a thread, and then counts as queued.
    const auto runs_two = [&] {
        return loop.stats().running_calls == 2 && loop.stats().abandoned_calls == 1;
    };
    remote[3].cancel();
    fixture.run_until([&] { return called[3] && runs_two(); });
    remote[0].cancel();
    // The daemon is still stopped: the next call takes the thread of the interrupted one.
    fixture.run_until([&] { return called[0] && runs_two(); });
    BOOST_TEST((!called[1] && !called[2]));
    daemon.thaw();
    fixture.run_until([&] { return called[1] && called[2]; });
    BOOST_TEST(called[1].ec() == error_code());
    BOOST_TEST(called[2].ec() == error_code());
    BOOST_TEST(called[0].ec() == aborted);
    BOOST_TEST(called[3].ec() == aborted);
    fixture.run_until([&] { return is_busy(0, 0, 1); });
    gate.open();
    fixture.run_until([&] { return is_busy(0, 0, 0); });
}

BOOST_AUTO_TEST_SUITE_END()
