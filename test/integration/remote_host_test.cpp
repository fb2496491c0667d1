// SPDX-License-Identifier: BSL-1.0
#include "supervision_fixture.hpp"

#include <avirt/domain_state.hpp>
#include <avirt/host_feed.hpp>

#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

// A host with many users, whose daemon stops and comes back.

namespace {

/// A feed and the states of the domains as its reports say. It receives whenever it may.
class follower
{
public:
    follower(avirt::supervised_connection& host, std::size_t capacity) : feed_(host, capacity) {}

    /// Receives until told to stop.
    void start()
    {
        is_receiving_ = true;
        receive();
    }

    void stop() noexcept
    {
        is_receiving_ = false;
    }

    const domain_states& states() const noexcept
    {
        return states_;
    }

    std::uint64_t overflows() const noexcept
    {
        return overflows_;
    }

private:
    void receive()
    {
        feed_.async_receive([this](error_code ec, const avirt::host_report& report) {
            if (ec == avirt::error::events_lost)
                ++overflows_;
            else if (ec)
                return;
            else
                update(states_, report);
            if (is_receiving_)
                receive();
        });
    }

    avirt::host_feed feed_;
    domain_states states_;
    std::uint64_t overflows_ = 0;
    bool is_receiving_ = false;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_host_restarts, supervision_fixture)

BOOST_AUTO_TEST_CASE(every_feed_knows_the_state_after_each)
{
    const char* const wanted_restarts = std::getenv("AVIRT_RESTARTS");
    const int restarts = wanted_restarts ? std::atoi(wanted_restarts) : 10;
    constexpr std::array names{"first", "second", "third", "fourth"};
    std::minstd_rand random(1);
    // It may be refused: a daemon that has just returned is still finding out which guests live.
    const auto change_one = [&] {
        const std::string name = names[random() % names.size()];
        const bool undefines = random() % 2 == 0;
        outcome changed;
        conn.async_call(
            [name, undefines, xml = daemon.guest_xml(name, avirt_demo_guest)](virConnectPtr c) {
                const avirt::domain guest{virDomainLookupByName(c, name.c_str())};
                if (!guest)
                    return avirt::domain{virDomainDefineXML(c, xml.c_str())} ? 0 : -1;
                if (virDomainIsActive(guest.get()) == 1)
                    return virDomainDestroy(guest.get());
                return undefines ? virDomainUndefine(guest.get()) : virDomainCreate(guest.get());
            },
            changed.handler());
        run_until_done(changed);
    };
    const auto actual = [&] {
        domain_states result;
        call([&](virConnectPtr c) {
            virDomainPtr* list = nullptr;
            const int count = virConnectListAllDomains(c, &list, 0);
            for (int i = 0; i < count; ++i) {
                const avirt::domain d{list[i]};
                int state = 0;
                virDomainGetState(d.get(), &state, nullptr, 0);
                result[virDomainGetName(d.get())] = state;
            }
            std::free(list);
        });
        return result;
    };

    std::deque<follower> followers;
    for (const std::size_t capacity : {1024u, 1024u, 1u})
        followers.emplace_back(host, capacity).start();
    follower& away = followers.emplace_back(host, 2); // It receives nothing until the end.
    const auto wait_until_all_know = [&] {
        run_until([&] {
            states = actual();
            return std::ranges::all_of(
                followers, [&](const follower& f) { return &f == &away || f.states() == states; });
        });
    };
    next<avirt::host_connected>();
    for (int i = 0; i < restarts; ++i) {
        for (int n = 0; n < 3; ++n)
            change_one();
        states = actual();
        leave(i % 2 == 0 ? SIGKILL : SIGTERM);
        if (states.contains("first") && states["first"] == VIR_DOMAIN_SHUTOFF)
            forget_guest("first");
        come_back();
        wait_until_all_know();
    }
    away.start();
    run_until([&] {
        states = actual();
        return away.states() == states;
    });
    BOOST_TEST(followers.front().overflows() == 0u);
    BOOST_TEST(away.overflows() > 0u);
    for (auto& f : followers)
        f.stop();
    for (const auto& [name, state] : states)
        on_guest(name, [](virDomainPtr d) {
            virDomainDestroy(d); // It need not be running.
            return 0;
        });
    host.close();
    run_until([&] { return io.poll() == 0 && loop.stats().running_calls == 0; });
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// A host on a context that two threads run.
struct threads_fixture : support::loop_fixture
{
    support::libvirtd daemon;
    avirt::supervised_connection host{io, options(daemon.uri())};
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    std::vector<std::thread> runners;

    threads_fixture()
    {
        for (int i = 0; i < 2; ++i)
            runners.emplace_back([this] { io.run(); });
    }

    ~threads_fixture()
    {
        work.reset();
        host.close();
        for (auto& r : runners)
            r.join();
    }

    static avirt::supervision_options options(const std::string& uri)
    {
        avirt::supervision_options o;
        o.open.uri = uri;
        o.first_delay = 1ms;
        o.longest_delay = 20ms;
        return o;
    }

    /// Waits for an operation, whatever its result is.
    template <class Result>
    static void finish(std::future<Result> operation)
    {
        try {
            operation.get();
        }
        catch (const boost::system::system_error&) {
        }
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_host_threads, threads_fixture)

BOOST_AUTO_TEST_CASE(eight_use_it_while_it_is_lost_and_opened_again)
{
    std::atomic<bool> is_over = false;
    std::atomic<int> calls = 0;
    std::vector<std::thread> users;
    for (int i = 0; i < 8; ++i) {
        users.emplace_back([&, i] {
            while (!is_over) {
                avirt::host_feed feed{host};
                finish(feed.async_receive(asio::use_future));
                auto& conn = host.connection();
                const auto count = [&](virConnectPtr c) { return ++calls, virConnectNumOfDomains(c); };
                finish(conn.async_call(count, asio::use_future));
                finish(conn.async_call(avirt::own_connection, count, asio::use_future));
                avirt::async_stream stream{io};
                finish(stream.async_open(conn, avirt::console{"no such domain"}, asio::use_future));
                if (i == 0)
                    finish(avirt::async_wait_for_state(host, "no such domain", 0, asio::use_future));
                host.retry_now();
            }
        });
    }
    for (int i = 0; i < 5; ++i) {
        const int before = calls;
        BOOST_TEST(support::eventually([&] { return calls > before + 20; }));
        daemon.leave(SIGKILL);
        BOOST_TEST(support::eventually([&] { return daemon.has_left(); }));
        daemon.come_back();
        BOOST_TEST(support::eventually([&] { return daemon.is_up(); }));
    }
    is_over = true;
    for (auto& u : users)
        u.join();
}

BOOST_AUTO_TEST_SUITE_END()
