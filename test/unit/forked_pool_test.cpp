// SPDX-License-Identifier: BSL-1.0

// How a forked child treats its parent's jobs, and its own.
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

/// Returns whether body() returned true in a child of this process.
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
    auto& parent_pool = worker_pool::instance();
    parent_pool.set_limits(1, 1024);
    const auto lane = std::make_shared<job_lane>();
    gate g;
    const auto running = parent_pool.make(g.entry(), lane);
    const auto queued = parent_pool.make(g.entry(), lane);
    parent_pool.submit(running);
    BOOST_TEST(eventually([&] { return g.arrived() == 1; }));
    parent_pool.submit(queued);
    BOOST_TEST(!event_registry::instance().is_idle());
    BOOST_TEST(holds_in_a_child([&] {
        auto& child_pool = worker_pool::instance();
        return event_registry::instance().is_idle() && counts_nothing(child_pool)
            && runs_a_job(child_pool, lane);
    }));
    BOOST_TEST(holds_in_a_child([&] {
        auto& child_pool = worker_pool::instance();
        for (const auto& j : {running, queued}) {
            if (!child_pool.withdraw(j) || !child_pool.abandon(j))
                return false;
            child_pool.detach(j);
        }
        return event_registry::instance().is_idle() && counts_nothing(child_pool)
            && runs_a_job(child_pool, lane);
    }));
    BOOST_TEST(parent_pool.stats().running == 1u);
    BOOST_TEST(parent_pool.stats().queued == 1u);
    g.open();
    BOOST_TEST(eventually([] { return event_registry::instance().is_idle(); }));
    BOOST_TEST(g.passed() == 2);
    parent_pool.set_limits(16, 1024);
}

BOOST_AUTO_TEST_CASE(a_child_releases_references_while_its_parent_releases_others)
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
