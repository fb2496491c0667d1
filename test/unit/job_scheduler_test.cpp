// SPDX-License-Identifier: BSL-1.0
#include "core/job_scheduler.hpp"

#include <boost/test/unit_test.hpp>

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
    std::shared_ptr<job_lane> lane = std::make_shared<job_lane>();

    scheduler_fixture()
    {
        jobs.set_lane_limit(2);
    }

    ~scheduler_fixture()
    {
        while (const auto j = jobs.take_next(priority::any))
            jobs.finish(*j);
    }

    job_ptr add(std::shared_ptr<job_lane> in)
    {
        auto j = std::make_shared<worker_job>([] {}, std::move(in), jobs);
        jobs.add(j);
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
    BOOST_TEST((jobs.take_next(priority::any) == high));
    BOOST_TEST((jobs.take_next(priority::any) == first));
    BOOST_TEST((jobs.take_next(priority::any) == second));
    BOOST_TEST(!jobs.take_next(priority::any));
    BOOST_TEST(counts(3, 0, 0));
}

BOOST_AUTO_TEST_CASE(a_full_lane_keeps_its_other_jobs_waiting)
{
    std::vector<job_ptr> added;
    for (int i = 0; i < 3; ++i)
        added.push_back(add(lane));
    BOOST_TEST(jobs.is_ready(*added[1]));
    BOOST_TEST(!jobs.is_ready(*added[2]));
    jobs.take_next(priority::any);
    jobs.take_next(priority::any);
    BOOST_TEST(!jobs.has_ready(priority::any));
    const auto in_another = add(std::make_shared<job_lane>());
    BOOST_TEST((jobs.take_next(priority::any) == in_another));
    BOOST_TEST(jobs.finish(*added[0]));
    BOOST_TEST((jobs.take_next(priority::any) == added[2]));
}

BOOST_AUTO_TEST_CASE(jobs_with_a_lane_are_not_of_high_priority)
{
    add(lane);
    BOOST_TEST(jobs.has_ready(priority::any));
    BOOST_TEST(!jobs.has_ready(priority::high));
    BOOST_TEST(!jobs.take_next(priority::high));
    const auto high = add(nullptr);
    BOOST_TEST(jobs.has_ready(priority::high));
    BOOST_TEST((jobs.take_next(priority::high) == high));
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
    jobs.take_next(priority::any);
    BOOST_TEST(!jobs.take_back(stuck));
    BOOST_TEST(jobs.abandon(*stuck));
    BOOST_TEST(!jobs.abandon(*stuck));
    BOOST_TEST(jobs.is_ready(*waiting));
    BOOST_TEST(counts(0, 2, 1));
    BOOST_TEST(!jobs.finish(*stuck));
    BOOST_TEST(counts(0, 2, 0));
}

BOOST_AUTO_TEST_CASE(jobs_of_high_priority_are_done_when_they_have_returned)
{
    BOOST_TEST(jobs.is_high_priority_done());
    const auto high = add(nullptr);
    BOOST_TEST(!jobs.is_high_priority_done());
    jobs.take_next(priority::high);
    BOOST_TEST(!jobs.is_high_priority_done());
    jobs.abandon(*high);
    BOOST_TEST(!jobs.is_high_priority_done());
    jobs.finish(*high);
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
        jobs.take_next(priority::any);
    }
    job_scheduler of_child;
    of_child.set_lane_limit(1);
    const auto j = std::make_shared<worker_job>([] {}, lane, of_child);
    of_child.add(j);
    BOOST_TEST(of_child.is_ready(*j));
    BOOST_TEST((of_child.take_next(priority::any) == j));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
