// SPDX-License-Identifier: BSL-1.0
#include "worker_pool.hpp"

#include "event_registry.hpp"

#include <support/gate.hpp>
#include <support/loop_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <signal.h>

#include <filesystem>
#include <iterator>
#include <numeric>
#include <vector>

namespace {

using avirt::detail::event_registry;
using avirt::detail::worker_pool;
using place = worker_pool::place;
using support::eventually;
using support::gate;

/// The pool, with as many places as the case wants, and at rest before and after.
struct pool_fixture
{
    worker_pool& pool = worker_pool::instance();

    pool_fixture()
    {
        pool.set_limit(2);
    }

    ~pool_fixture()
    {
        BOOST_TEST(is_at_rest());
        pool.set_limit(16);
    }

    bool is_at_rest()
    {
        return eventually([this] {
            const auto s = pool.stats();
            return s.running == 0 && s.queued == 0 && s.abandoned == 0;
        });
    }

    bool runs(std::size_t running, std::size_t queued)
    {
        return eventually([&] {
            const auto s = pool.stats();
            return s.running == running && s.queued == queued;
        });
    }
};

/// Keeps every worker that other cases have left behind from taking a job.
class no_idle_worker
{
public:
    explicit no_idle_worker(pool_fixture& f)
    {
        std::filesystem::directory_iterator threads("/proc/self/task");
        count = static_cast<std::size_t>(std::distance(threads, {}));
        for (std::size_t i = 0; i < count; ++i)
            f.pool.submit(gate_.entry(), place::urgent);
        BOOST_REQUIRE(f.runs(count, 0));
    }

    std::size_t count = 0;

private:
    gate gate_;
};

BOOST_FIXTURE_TEST_SUITE(worker_pool_, pool_fixture)

BOOST_AUTO_TEST_CASE(runs_elsewhere_with_all_signals_blocked)
{
    std::thread::id id;
    sigset_t mask{};
    std::atomic<bool> done = false;
    pool.submit([&] {
        id = std::this_thread::get_id();
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        done = true;
    });
    BOOST_TEST(eventually([&] { return done.load(); }));
    BOOST_TEST((id != std::this_thread::get_id()));
    for (int signal : {SIGINT, SIGTERM, SIGCHLD, SIGPIPE, SIGUSR1, SIGALRM})
        BOOST_TEST(::sigismember(&mask, signal) == 1);
    sigset_t own{};
    ::pthread_sigmask(SIG_SETMASK, nullptr, &own);
    BOOST_TEST(::sigismember(&own, SIGINT) == 0);
}

BOOST_AUTO_TEST_CASE(never_more_at_a_time_than_the_limit)
{
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    std::atomic<int> done = 0;
    pool.set_limit(3);
    {
        gate g;
        for (int i = 0; i < 50; ++i) {
            pool.submit([&, pass = g.entry()] {
                const int n = ++now;
                for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);)
                    ;
                pass();
                --now;
                ++done;
            });
        }
        BOOST_TEST(runs(3, 47));
    }
    BOOST_TEST(eventually([&] { return done == 50; }));
    BOOST_TEST(most == 3);
}

BOOST_AUTO_TEST_CASE(in_order_where_there_is_one_place)
{
    pool.set_limit(1);
    std::mutex mutex;
    std::vector<int> order;
    for (int i = 0; i < 200; ++i) {
        pool.submit([&, i] {
            const std::lock_guard guard(mutex);
            order.push_back(i);
        });
    }
    BOOST_TEST(is_at_rest());
    std::vector<int> expected(200);
    std::iota(expected.begin(), expected.end(), 0);
    BOOST_TEST(order == expected);
}

BOOST_AUTO_TEST_CASE(an_urgent_job_never_waits_for_a_place)
{
    gate g;
    for (int i = 0; i < 5; ++i)
        pool.submit(g.entry());
    BOOST_TEST(runs(2, 3));
    for (int i = 0; i < 5; ++i) {
        std::atomic<bool> done = false;
        pool.submit([&] { done = true; }, place::urgent);
        BOOST_TEST(eventually([&] { return done.load(); }));
    }
    BOOST_TEST(g.arrived() == 2);
}

BOOST_AUTO_TEST_CASE(urgent_jobs_take_no_place_from_the_others)
{
    pool.set_limit(1);
    const no_idle_worker urgent(*this);
    std::atomic<bool> done = false;
    const auto j = pool.submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(a_queued_job_that_is_abandoned_never_runs)
{
    gate g;
    bool ran = false;
    const auto owned = std::make_shared<int>();
    for (int i = 0; i < 2; ++i)
        pool.submit(g.entry());
    const auto j = pool.submit([&ran, owned] { ran = true; });
    BOOST_TEST(runs(2, 1));
    BOOST_TEST(pool.abandon(j));
    BOOST_TEST(owned.use_count() == 1);
    BOOST_TEST(pool.stats().queued == 0u);
    BOOST_TEST(pool.stats().abandoned == 0u);
    g.open();
    BOOST_TEST(is_at_rest());
    BOOST_TEST(!ran);
    BOOST_TEST(!pool.abandon(j));
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_makes_room)
{
    const no_idle_worker urgent(*this);
    gate stuck;
    gate next;
    std::vector<std::shared_ptr<worker_pool::job>> jobs;
    for (int i = 0; i < 2; ++i)
        jobs.push_back(pool.submit(stuck.entry()));
    BOOST_REQUIRE(runs(urgent.count + 2, 0));
    for (int i = 0; i < 3; ++i)
        pool.submit(next.entry());
    BOOST_REQUIRE(runs(urgent.count + 2, 3));
    for (const auto& j : jobs)
        BOOST_TEST(!pool.abandon(j));
    BOOST_TEST(pool.stats().abandoned == 2u);
    BOOST_REQUIRE(runs(urgent.count + 2, 1));
    next.open();
    BOOST_TEST(runs(urgent.count, 0));
    BOOST_TEST(pool.stats().abandoned == 2u);
    stuck.open();
    BOOST_TEST(eventually([&] { return pool.stats().abandoned == 0; }));
    BOOST_TEST(stuck.passed() == 2);
}

BOOST_AUTO_TEST_CASE(to_abandon_a_job_that_is_done_does_nothing)
{
    const auto j = pool.submit([] {});
    BOOST_TEST(is_at_rest());
    BOOST_TEST(!pool.abandon(j));
    BOOST_TEST(pool.stats().abandoned == 0u);
    std::atomic<bool> done = false;
    pool.submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(what_a_job_holds_ends_before_the_loop_may_be_idle)
{
    auto& registry = event_registry::instance();
    gate g;
    const auto held = std::make_shared<int>();
    BOOST_TEST(registry.is_idle());
    pool.submit([pass = g.entry(), held] { pass(); });
    BOOST_TEST(!registry.is_idle());
    g.open();
    BOOST_TEST(eventually([&] { return registry.is_idle(); }));
    BOOST_TEST(held.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_does_not_hold_the_loop)
{
    auto& registry = event_registry::instance();
    gate g;
    const auto running = pool.submit(g.entry());
    BOOST_TEST(runs(1, 0));
    BOOST_TEST(!registry.is_idle());
    pool.abandon(running);
    BOOST_TEST(registry.is_idle());
    g.open();
    BOOST_TEST(is_at_rest());
    BOOST_TEST(registry.is_idle());
}

BOOST_AUTO_TEST_CASE(an_uncounted_job_does_not_hold_the_loop)
{
    gate g;
    pool.submit_uncounted(g.entry());
    BOOST_TEST(runs(1, 0));
    BOOST_TEST(event_registry::instance().is_idle());
}

BOOST_AUTO_TEST_CASE(every_job_of_every_thread_runs_once)
{
    constexpr int threads = 4;
    constexpr int each = 500;
    std::vector<std::atomic<int>> runs_of(threads * each);
    std::vector<std::thread> submitters;
    for (int t = 0; t < threads; ++t) {
        submitters.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                auto& runs_of_this = runs_of[static_cast<std::size_t>(t * each + i)];
                pool.submit([&] { ++runs_of_this; }, i % 7 == 0 ? place::urgent : place::normal);
            }
        });
    }
    for (auto& t : submitters)
        t.join();
    BOOST_TEST(is_at_rest());
    for (const auto& n : runs_of)
        BOOST_REQUIRE(n == 1);
}

BOOST_AUTO_TEST_CASE(abandoning_races_with_running)
{
    std::atomic<int> ran = 0;
    int dropped = 0;
    for (int i = 0; i < 2000; ++i) {
        const auto j = pool.submit([&] { ++ran; });
        if (pool.abandon(j))
            ++dropped;
    }
    BOOST_TEST(is_at_rest());
    BOOST_TEST(ran + dropped == 2000);
    BOOST_TEST(event_registry::instance().is_idle());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
