// SPDX-License-Identifier: BSL-1.0
#include "core/job_scheduler.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <vector>

namespace {

using avirt::detail::job_lane;
using avirt::detail::job_ptr;
using avirt::detail::job_scheduler;
using avirt::detail::worker_job;
using priority = job_scheduler::priority;

/// A scheduler that runs two jobs of a lane at a time.
struct scheduler_fixture
{
    job_scheduler jobs;
    job_scheduler::time_point now{};
    std::vector<job_ptr> made;
    std::shared_ptr<job_lane> lane = std::make_shared<job_lane>();

    scheduler_fixture()
    {
        jobs.set_lane_limit(2);
    }

    ~scheduler_fixture()
    {
        for (const auto& j : made) // A queue owns the jobs in it.
            static_cast<void>(jobs.take_back(j) || jobs.abandon(*j));
    }

    job_ptr take(priority lowest = priority::any)
    {
        return jobs.take_next(lowest, now);
    }

    bool finish(worker_job& j)
    {
        return jobs.finish(j);
    }

    /// Adds and takes urgent jobs, or jobs each of which has a lane of its own.
    std::vector<job_ptr> run(std::size_t count, bool with_lane)
    {
        std::vector<job_ptr> result;
        for (std::size_t i = 0; i < count; ++i) {
            result.push_back(add(with_lane ? std::make_shared<job_lane>() : nullptr));
            BOOST_REQUIRE((take() == result.back()));
        }
        return result;
    }

    job_ptr add(std::shared_ptr<job_lane> in)
    {
        auto j = std::make_shared<worker_job>([] {}, std::move(in), jobs);
        jobs.add(j);
        made.push_back(j);
        return j;
    }

    bool counts(std::size_t running, std::size_t queued, std::size_t abandoned)
    {
        return jobs.running() == running && jobs.queued() == queued && jobs.abandoned() == abandoned;
    }
};

BOOST_FIXTURE_TEST_SUITE(job_scheduler_, scheduler_fixture)

BOOST_AUTO_TEST_CASE(ready_jobs_are_taken_in_order_those_without_a_lane_first)
{
    const auto first = add(lane);
    const auto second = add(lane);
    const auto high = add(nullptr);
    BOOST_TEST(counts(0, 3, 0));
    BOOST_TEST((take() == high));
    BOOST_TEST((take() == first));
    BOOST_TEST((take() == second));
    BOOST_TEST(!take());
    BOOST_TEST(counts(3, 0, 0));
}

BOOST_AUTO_TEST_CASE(a_full_lane_keeps_its_other_jobs_waiting)
{
    std::vector<job_ptr> added;
    for (int i = 0; i < 3; ++i)
        added.push_back(add(lane));
    BOOST_TEST(jobs.is_ready(*added[1]));
    BOOST_TEST(!jobs.is_ready(*added[2]));
    take();
    take();
    BOOST_TEST(!jobs.has_ready(priority::any));
    const auto in_another = add(std::make_shared<job_lane>());
    BOOST_TEST((take() == in_another));
    BOOST_TEST(finish(*added[0]));
    BOOST_TEST((take() == added[2]));
}

BOOST_AUTO_TEST_CASE(jobs_with_a_lane_are_not_of_high_priority)
{
    add(lane);
    BOOST_TEST(jobs.has_ready(priority::any));
    BOOST_TEST(!jobs.has_ready(priority::high));
    BOOST_TEST(!take(priority::high));
    const auto high = add(nullptr);
    BOOST_TEST(jobs.has_ready(priority::high));
    BOOST_TEST((take(priority::high) == high));
}

BOOST_AUTO_TEST_CASE(a_job_that_is_taken_back_makes_room)
{
    const auto ready = add(lane);
    add(lane);
    const auto waiting = add(lane);
    const auto last = add(lane);
    BOOST_TEST(jobs.take_back(waiting));
    BOOST_TEST(!jobs.take_back(waiting));
    BOOST_TEST(!jobs.is_ready(*last));
    BOOST_TEST(jobs.take_back(ready));
    BOOST_TEST(jobs.is_ready(*last));
    BOOST_TEST(counts(0, 2, 0));
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_leaves_its_lane)
{
    const auto stuck = add(lane);
    add(lane);
    const auto waiting = add(lane);
    BOOST_TEST(!jobs.abandon(*stuck)); // It is not running yet.
    take();
    BOOST_TEST(!jobs.take_back(stuck));
    BOOST_TEST(jobs.abandon(*stuck));
    BOOST_TEST(!jobs.abandon(*stuck));
    BOOST_TEST(jobs.is_ready(*waiting));
    BOOST_TEST(counts(0, 2, 1));
    BOOST_TEST(!finish(*stuck));
    BOOST_TEST(counts(0, 2, 0));
}

BOOST_AUTO_TEST_CASE(jobs_of_high_priority_are_done_when_they_have_returned)
{
    BOOST_TEST(jobs.is_high_priority_done());
    const auto high = add(nullptr);
    BOOST_TEST(!jobs.is_high_priority_done());
    take(priority::high);
    BOOST_TEST(!jobs.is_high_priority_done());
    jobs.abandon(*high);
    BOOST_TEST(!jobs.is_high_priority_done());
    finish(*high);
    BOOST_TEST(jobs.is_high_priority_done());
}

BOOST_AUTO_TEST_CASE(a_raised_limit_makes_waiting_jobs_ready)
{
    std::vector<job_ptr> added;
    for (int i = 0; i < 5; ++i)
        added.push_back(add(lane));
    jobs.set_lane_limit(4);
    BOOST_TEST(jobs.is_ready(*added[3]));
    BOOST_TEST(!jobs.is_ready(*added[4]));
}

BOOST_AUTO_TEST_CASE(a_lane_is_empty_for_another_scheduler)
{
    for (int i = 0; i < 2; ++i) {
        add(lane);
        take();
    }
    job_scheduler of_child;
    of_child.set_lane_limit(1);
    const auto j = std::make_shared<worker_job>([] {}, lane, of_child);
    of_child.add(j);
    BOOST_TEST(of_child.is_ready(*j));
    BOOST_TEST((of_child.take_next(priority::any, now) == j));
    of_child.finish(*j);
}

BOOST_AUTO_TEST_CASE(a_detached_job_keeps_its_place_and_counts_as_abandoned)
{
    const auto detached = add(lane);
    add(lane);
    const auto waiting = add(lane);
    BOOST_TEST(!jobs.detach(*detached)); // It is not running yet.
    take();
    take();
    BOOST_TEST(jobs.detach(*detached));
    BOOST_TEST(!jobs.detach(*detached));
    BOOST_TEST(counts(1, 1, 1));
    BOOST_TEST(!jobs.is_ready(*waiting));
    BOOST_TEST(!finish(*detached));
    BOOST_TEST(jobs.is_ready(*waiting));
    BOOST_TEST(counts(1, 1, 0));
}

BOOST_AUTO_TEST_CASE(a_detached_job_can_be_abandoned)
{
    const auto stuck = add(lane);
    add(lane);
    const auto waiting = add(lane);
    take();
    take();
    jobs.detach(*stuck);
    BOOST_TEST(jobs.abandon(*stuck));
    BOOST_TEST(jobs.is_ready(*waiting));
    BOOST_TEST(counts(1, 1, 1));
    BOOST_TEST(!finish(*stuck));
    BOOST_TEST(counts(1, 1, 0));
}

BOOST_AUTO_TEST_CASE(every_second_turn_is_of_a_lane_of_which_nothing_runs)
{
    jobs.set_lane_limit(16);
    std::vector<job_ptr> of_busy;
    for (int i = 0; i < 4; ++i)
        of_busy.push_back(add(lane));
    BOOST_TEST((take() == of_busy[0]));
    std::vector<job_ptr> first;
    for (int i = 0; i < 4; ++i)
        first.push_back(add(std::make_shared<job_lane>()));
    // Neither holds up the other, however many there are.
    for (std::size_t i = 0; i < 3; ++i) {
        BOOST_TEST((take() == of_busy[i + 1]));
        BOOST_TEST((take() == first[i]));
    }
    BOOST_TEST((take() == first[3]));
}

BOOST_AUTO_TEST_CASE(healthy_jobs_share_a_few_threads)
{
    const auto running = run(job_scheduler::healthy_jobs_with_lane, true);
    const auto waiting = add(std::make_shared<job_lane>());
    BOOST_TEST(!jobs.has_ready(priority::any));
    BOOST_TEST(!jobs.is_ready(*waiting));
    BOOST_TEST(jobs.needs_watcher());
    BOOST_TEST(!take());
    const auto urgent = add(nullptr); // These have threads of their own.
    BOOST_TEST((take() == urgent));
    finish(*running.front());
    BOOST_TEST(!jobs.needs_watcher());
    BOOST_TEST((take() == waiting));
}

BOOST_AUTO_TEST_CASE(urgent_jobs_take_no_thread_from_others)
{
    run(job_scheduler::healthy_urgent_jobs, false);
    add(nullptr);
    BOOST_TEST(!jobs.has_ready(priority::any));
    BOOST_TEST(jobs.needs_watcher());
    const auto other = add(lane);
    BOOST_TEST((take() == other));
    BOOST_TEST(!take());
    jobs.lift_limits();
    BOOST_TEST(jobs.has_ready(priority::high));
}

BOOST_AUTO_TEST_CASE(stuck_jobs_double_the_number_of_threads)
{
    for (const bool with_lane : {false, true}) {
        const auto count =
            with_lane ? job_scheduler::healthy_jobs_with_lane : job_scheduler::healthy_urgent_jobs;
        std::vector<job_ptr> all;
        for (const std::size_t times : {1u, 2u, 4u}) {
            const auto more = run(times * count, with_lane);
            all.insert(all.end(), more.begin(), more.end());
            const auto one_more = add(with_lane ? std::make_shared<job_lane>() : nullptr);
            BOOST_TEST(!take());
            const auto stuck_at = jobs.next_stuck_at();
            BOOST_TEST((stuck_at == now + job_scheduler::longest_healthy_job));
            jobs.mark_stuck(stuck_at - std::chrono::nanoseconds(1));
            BOOST_TEST(!take());
            jobs.mark_stuck(now = stuck_at);
            BOOST_TEST(jobs.has_ready(priority::any));
            jobs.take_back(one_more);
        }
        for (const auto& j : all)
            finish(*j);
        const auto again = run(count, with_lane);
        add(with_lane ? std::make_shared<job_lane>() : nullptr);
        BOOST_TEST(!take());
        for (const auto& j : again)
            finish(*j);
        finish(*take());
    }
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_is_stuck)
{
    const auto running = run(job_scheduler::healthy_jobs_with_lane, true);
    add(lane);
    BOOST_TEST(!jobs.has_ready(priority::any));
    jobs.abandon(*running.front());
    BOOST_TEST(jobs.has_ready(priority::any));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
