// SPDX-License-Identifier: BSL-1.0
#include "core/worker_pool.hpp"

#include "loop/event_registry.hpp"

#include <support/gate.hpp>
#include <support/loop_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <signal.h>

#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using avirt::detail::event_registry;
using avirt::detail::job_lane;
using avirt::detail::worker_pool;
using support::eventually;
using support::gate;

/// The pool, at rest before and after, and a lane.
struct pool_fixture
{
    worker_pool& pool = worker_pool::instance();
    std::shared_ptr<job_lane> lane = std::make_shared<job_lane>();

    pool_fixture()
    {
        set_limit(2);
    }

    ~pool_fixture()
    {
        BOOST_TEST(is_at_rest());
        set_limit(16);
    }

    void set_limit(std::size_t limit)
    {
        pool.set_limits(limit, 1024);
    }

    /// Submits to the fixture's lane.
    worker_pool::job_ptr submit(std::function<void()> function)
    {
        return submit(std::move(function), lane);
    }

    worker_pool::job_ptr submit(std::function<void()> function, std::shared_ptr<job_lane> in)
    {
        const auto j = pool.make(std::move(function), std::move(in));
        if (pool.submit(j))
            throw std::runtime_error("no thread");
        return j;
    }

    worker_pool::job_ptr submit_urgent(std::function<void()> function)
    {
        return submit(std::move(function), nullptr);
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

BOOST_FIXTURE_TEST_SUITE(worker_pool_, pool_fixture)

BOOST_AUTO_TEST_CASE(a_job_runs_on_another_thread_with_all_signals_blocked)
{
    std::thread::id id;
    sigset_t mask{};
    std::atomic<bool> done = false;
    submit([&] {
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

BOOST_AUTO_TEST_CASE(no_more_jobs_run_at_a_time_than_the_limit)
{
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    std::atomic<int> done = 0;
    set_limit(3);
    {
        gate g;
        for (int i = 0; i < 50; ++i) {
            submit([&, pass = g.entry()] {
                const int n = ++now;
                for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);)
                    ;
                pass();
                --now;
                ++done;
            });
        }
        BOOST_TEST(runs(3, 47));
        BOOST_TEST(eventually([&] { return g.arrived() == 3; }));
    }
    BOOST_TEST(eventually([&] { return done == 50; }));
    BOOST_TEST(most == 3);
}

BOOST_AUTO_TEST_CASE(jobs_run_in_order_if_the_limit_is_one)
{
    set_limit(1);
    std::mutex mutex;
    std::vector<int> order;
    for (int i = 0; i < 200; ++i) {
        submit([&, i] {
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
        submit(g.entry());
    BOOST_TEST(runs(2, 3));
    BOOST_TEST(eventually([&] { return g.arrived() == 2; }));
    for (int i = 0; i < 5; ++i) {
        std::atomic<bool> done = false;
        submit_urgent([&] { done = true; });
        BOOST_TEST(eventually([&] { return done.load(); }));
    }
    BOOST_TEST(g.arrived() == 2);
}

BOOST_AUTO_TEST_CASE(urgent_jobs_take_no_place_from_the_others)
{
    set_limit(1);
    gate g;
    for (int i = 0; i < 20; ++i)
        submit_urgent(g.entry());
    BOOST_TEST(runs(20, 0));
    std::atomic<bool> done = false;
    submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(lanes_share_no_limit)
{
    std::vector<std::shared_ptr<job_lane>> lanes;
    gate g;
    for (int i = 0; i < 40; ++i) {
        lanes.push_back(std::make_shared<job_lane>());
        for (int n = 0; n < 3; ++n)
            submit(g.entry(), lanes.back());
    }
    BOOST_TEST(runs(80, 40));
    std::atomic<bool> done = false;
    submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
    BOOST_TEST(runs(80, 40));
}

BOOST_AUTO_TEST_CASE(raising_the_limit_starts_waiting_jobs)
{
    gate g;
    const auto other = std::make_shared<job_lane>();
    for (int i = 0; i < 10; ++i) {
        submit(g.entry());
        submit(g.entry(), other);
    }
    BOOST_TEST(runs(4, 16));
    set_limit(4);
    BOOST_TEST(runs(8, 12));
    set_limit(1);
    BOOST_TEST(runs(8, 12));
    set_limit(100);
    BOOST_TEST(runs(20, 0));
}

BOOST_AUTO_TEST_CASE(there_are_no_more_threads_than_the_ceiling)
{
    gate g;
    pool.set_limits(16, 3);
    submit(g.entry(), std::make_shared<job_lane>());
    submit_urgent(g.entry());
    const auto abandoned = submit(g.entry());
    BOOST_TEST(runs(3, 0));
    pool.abandon(abandoned); // Its thread still counts.
    std::atomic<int> done = 0;
    submit([&] { ++done; });
    submit_urgent([&] { ++done; });
    BOOST_TEST(runs(2, 2));
    BOOST_TEST(pool.stats().abandoned == 1u);
    pool.set_limits(16, 4);
    BOOST_TEST(eventually([&] { return done == 2; }));
    BOOST_TEST(runs(2, 0));
}

BOOST_AUTO_TEST_CASE(urgent_jobs_get_the_next_thread)
{
    pool.set_limits(16, 1);
    std::mutex mutex;
    std::string order;
    const auto note = [&](char c) {
        return [&, c] {
            const std::lock_guard guard(mutex);
            order += c;
        };
    };
    gate g;
    submit(g.entry());
    BOOST_TEST(runs(1, 0));
    for (int i = 0; i < 2; ++i) {
        submit(note('n'));
        submit_urgent(note('u'));
    }
    g.open();
    BOOST_TEST(is_at_rest());
    BOOST_TEST(order == "uunn");
}

BOOST_AUTO_TEST_CASE(stuck_jobs_take_no_thread_from_others)
{
    gate g;
    for (int i = 0; i < 500; ++i)
        submit(g.entry(), i % 2 == 0 ? nullptr : std::make_shared<job_lane>());
    std::atomic<bool> done = false;
    submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
    BOOST_TEST(runs(500, 0));
}

BOOST_AUTO_TEST_CASE(idle_threads_end)
{
    {
        gate g;
        for (int i = 0; i < 50; ++i)
            submit_urgent(g.entry());
        BOOST_TEST(runs(50, 0));
        BOOST_TEST(pool.stats().threads >= 50u);
    }
    BOOST_TEST(eventually([&] { return pool.stats().threads == 0; }));
    std::atomic<bool> done = false;
    submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(a_queued_job_that_is_abandoned_never_runs)
{
    gate g;
    bool ran = false;
    const auto owned = std::make_shared<int>();
    for (int i = 0; i < 2; ++i)
        submit(g.entry());
    const auto j = submit([&ran, owned] { ran = true; });
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
    gate stuck;
    gate next;
    std::vector<worker_pool::job_ptr> jobs;
    for (int i = 0; i < 2; ++i)
        jobs.push_back(submit(stuck.entry()));
    BOOST_REQUIRE(runs(2, 0));
    for (int i = 0; i < 3; ++i)
        submit(next.entry());
    BOOST_REQUIRE(runs(2, 3));
    for (const auto& j : jobs)
        BOOST_TEST(!pool.abandon(j));
    BOOST_TEST(pool.stats().abandoned == 2u);
    BOOST_REQUIRE(runs(2, 1));
    next.open();
    BOOST_TEST(runs(0, 0));
    BOOST_TEST(pool.stats().abandoned == 2u);
    stuck.open();
    BOOST_TEST(eventually([&] { return pool.stats().abandoned == 0; }));
    BOOST_TEST(stuck.passed() == 2);
}

BOOST_AUTO_TEST_CASE(abandoning_a_job_that_is_done_does_nothing)
{
    const auto j = submit([] {});
    BOOST_TEST(is_at_rest());
    BOOST_TEST(!pool.abandon(j));
    BOOST_TEST(pool.stats().abandoned == 0u);
    std::atomic<bool> done = false;
    submit([&] { done = true; });
    BOOST_TEST(eventually([&] { return done.load(); }));
}

BOOST_AUTO_TEST_CASE(what_a_job_owns_is_destroyed_before_the_loop_is_idle)
{
    auto& registry = event_registry::instance();
    gate g;
    const auto held = std::make_shared<int>();
    BOOST_TEST(registry.is_idle());
    submit([pass = g.entry(), held] { pass(); });
    BOOST_TEST(!registry.is_idle());
    g.open();
    BOOST_TEST(eventually([&] { return registry.is_idle(); }));
    BOOST_TEST(held.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_does_not_hold_the_loop)
{
    auto& registry = event_registry::instance();
    gate g;
    const auto running = submit(g.entry());
    BOOST_TEST(runs(1, 0));
    BOOST_TEST(!registry.is_idle());
    pool.abandon(running);
    BOOST_TEST(registry.is_idle());
    g.open();
    BOOST_TEST(is_at_rest());
    BOOST_TEST(registry.is_idle());
}

BOOST_AUTO_TEST_CASE(a_posted_function_holds_the_loop_only_on_request)
{
    static gate g;
    auto& registry = event_registry::instance();
    constexpr int count = 100; // more than the jobs that the pool keeps in reserve for post()
    for (int i = 0; i < count; ++i)
        BOOST_TEST(pool.post([] { g.entry()(); }, worker_pool::keeps_loop::no));
    BOOST_TEST(runs(count, 0));
    BOOST_TEST(registry.is_idle());
    BOOST_TEST(pool.post([] { g.entry()(); }, worker_pool::keeps_loop::yes));
    BOOST_TEST(!registry.is_idle());
    g.open();
    BOOST_TEST(eventually([&] { return registry.is_idle(); }));
    BOOST_TEST(is_at_rest());
    BOOST_TEST(g.passed() == count + 1);
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
                submit([&] { ++runs_of_this; }, i % 7 == 0 ? nullptr : lane);
            }
        });
    }
    for (auto& t : submitters)
        t.join();
    BOOST_TEST(is_at_rest());
    for (const auto& n : runs_of)
        BOOST_REQUIRE(n == 1);
}

BOOST_AUTO_TEST_CASE(abandoning_may_race_with_running)
{
    std::atomic<int> ran = 0;
    int dropped = 0;
    for (int i = 0; i < 2000; ++i) {
        const auto j = submit([&] { ++ran; });
        if (pool.abandon(j))
            ++dropped;
    }
    BOOST_TEST(is_at_rest());
    BOOST_TEST(ran + dropped == 2000);
    BOOST_TEST(event_registry::instance().is_idle());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
