// SPDX-License-Identifier: BSL-1.0

// What becomes of the parent's jobs in a forked child, and of its own.
#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/event_registry.hpp"

#include <support/eventually.hpp>
#include <support/gate.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <utility>

namespace {

using avirt::detail::event_registry;
using avirt::detail::job_lane;
using avirt::detail::worker_pool;
using support::eventually;
using support::gate;

/// Returns whether body() was true in a child of this process.
template <class Body>
bool holds_in_a_child(Body body)
{
    const auto pid = ::fork();
    if (pid == 0) {
        ::alarm(60);
        ::_exit(body() ? 0 : 1);
    }
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && status == 0;
}

bool runs_a_job(worker_pool& pool, std::shared_ptr<job_lane> lane)
{
    std::atomic<bool> has_run{false};
    pool.submit(pool.make([&] { has_run = true; }, std::move(lane)));
    return eventually([&] { return has_run && event_registry::instance().is_idle(); });
}

bool counts_nothing(const worker_pool& pool)
{
    const auto s = pool.stats();
    return s.running == 0 && s.queued == 0 && s.abandoned == 0;
}

} // namespace

BOOST_AUTO_TEST_SUITE(forked_pool)

BOOST_AUTO_TEST_CASE(a_child_does_not_wait_for_its_parents_jobs)
{
    auto& parents = worker_pool::instance();
    parents.set_limits(1, 1024);
    const auto lane = std::make_shared<job_lane>();
    gate g;
    const auto running = parents.make(g.entry(), lane);
    const auto queued = parents.make(g.entry(), lane);
    parents.submit(running);
    BOOST_TEST(eventually([&] { return g.arrived() == 1; }));
    parents.submit(queued);
    BOOST_TEST(!event_registry::instance().is_idle());
    BOOST_TEST(holds_in_a_child([&] {
        auto& own = worker_pool::instance();
        return event_registry::instance().is_idle() && counts_nothing(own) && runs_a_job(own, lane);
    }));
    BOOST_TEST(holds_in_a_child([&] {
        auto& own = worker_pool::instance();
        for (const auto& j : {running, queued}) {
            if (!own.withdraw(j) || !own.abandon(j))
                return false;
        }
        return event_registry::instance().is_idle() && counts_nothing(own) && runs_a_job(own, lane);
    }));
    BOOST_TEST(parents.stats().running == 1u);
    BOOST_TEST(parents.stats().queued == 1u);
    g.open();
    BOOST_TEST(eventually([] { return event_registry::instance().is_idle(); }));
    BOOST_TEST(g.passed() == 2);
    parents.set_limits(16, 1024);
}

BOOST_AUTO_TEST_CASE(a_child_releases_what_it_drops_while_its_parent_releases)
{
    static std::atomic<int> released{0};
    const auto note = [](void*) { ++released; };
    constexpr int rounds = 20;
    for (int i = 0; i < rounds; ++i) {
        avirt::detail::release_later(note, nullptr);
        BOOST_TEST(holds_in_a_child([&] {
            released = 0;
            avirt::detail::release_later(note, nullptr);
            return eventually([] { return released == 1; });
        }));
    }
    BOOST_TEST(eventually([] { return released == rounds; }));
    BOOST_TEST(eventually([] { return event_registry::instance().is_idle(); }));
}

BOOST_AUTO_TEST_SUITE_END()
