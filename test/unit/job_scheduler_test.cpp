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
    std::shared_ptr<job_lane> lane = std::make_shared<job_lane>();

    scheduler_fixture()
    {
        jobs.set_lane_limit(2);
    }

    ~scheduler_fixture()
    {
        while (const auto j = take())
            finish(*j);
    }

    job_ptr take(priority lowest = priority::any)
    {
        return jobs.take_next(lowest, now);
    }

    bool finish(worker_job& j)
    {
        return jobs.finish(j, now);
    }

    /// Adds and takes jobs, each of another lane.
    std::vector<job_ptr> run(std::size_t count)
    {
        std::vector<job_ptr> result;
        for (std::size_t i = 0; i < count; ++i) {
            result.push_back(add(std::make_shared<job_lane>()));
            take();
        }
        return result;
    }

    void finish_all(const std::vector<job_ptr>& running)
    {
        for (const auto& j : running)
            finish(*j);
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

BOOST_AUTO_TEST_CASE(lanes_take_turns_those_of_which_nothing_runs_first)
{
    jobs.set_lane_limit(16);
    const std::shared_ptr<job_lane> lanes[]{lane, std::make_shared<job_lane>(), std::make_shared<job_lane>()};
    std::vector<job_ptr> of_first, of_second;
    for (int i = 0; i < 3; ++i)
        of_first.push_back(add(lanes[0]));
    for (int i = 0; i < 3; ++i)
        of_second.push_back(add(lanes[1]));
    BOOST_TEST((take() == of_first[0]));
    BOOST_TEST((take() == of_second[0]));
    BOOST_TEST((take() == of_first[1]));
    const auto of_third = add(lanes[2]);
    BOOST_TEST((take() == of_third));
    BOOST_TEST((take() == of_second[1]));
    BOOST_TEST((take() == of_first[2]));
    finish_all({of_second[0], of_second[1], of_third});
    const auto last_of_first = add(lanes[0]);
    BOOST_TEST((take() == of_second[2])); // Nothing of the second lane runs any more.
    BOOST_TEST((take() == last_of_first));
}

BOOST_AUTO_TEST_CASE(healthy_jobs_share_a_few_threads)
{
    const auto running = run(job_scheduler::threads_of_healthy_jobs - 1);
    BOOST_TEST(jobs.has_room());
    const auto last = run(1);
    BOOST_TEST(!jobs.has_room());
    finish(*running.front());
    BOOST_TEST(jobs.has_room());
    finish_all({running.begin() + 1, running.end()});
    finish_all(last);
}

BOOST_AUTO_TEST_CASE(stuck_jobs_double_the_number_of_threads)
{
    constexpr auto count = job_scheduler::threads_of_healthy_jobs;
    const auto first = run(count);
    const auto stuck_at = jobs.next_stuck_at();
    jobs.mark_stuck(stuck_at - std::chrono::nanoseconds(1));
    BOOST_TEST(!jobs.has_room());
    jobs.mark_stuck(now = stuck_at);
    const auto second = run(2 * count);
    BOOST_TEST(!jobs.has_room());
    jobs.mark_stuck(now = jobs.next_stuck_at());
    const auto third = run(4 * count);
    BOOST_TEST(!jobs.has_room());
    finish_all(first);
    finish_all(second);
    finish_all(third);
    run(count - 1);
    BOOST_TEST(jobs.has_room());
    run(1);
    BOOST_TEST(!jobs.has_room());
}

BOOST_AUTO_TEST_CASE(an_abandoned_job_is_stuck)
{
    const auto running = run(job_scheduler::threads_of_healthy_jobs);
    jobs.abandon(*running.front());
    BOOST_TEST(jobs.has_room());
    finish_all(running);
}

BOOST_AUTO_TEST_CASE(a_job_is_stuck_when_it_takes_longer_than_jobs_have_taken_of_late)
{
    using avirt::detail::job_patience;
    const auto patience_after = [&](std::chrono::milliseconds time) {
        for (int i = 0; i < 100; ++i) {
            const auto running = run(1);
            now += time;
            finish_all(running);
        }
        const auto running = run(1);
        const auto patience = jobs.next_stuck_at() - now;
        finish_all(running);
        return std::chrono::round<std::chrono::milliseconds>(patience);
    };
    using std::chrono::milliseconds;
    BOOST_TEST((patience_after(milliseconds(1)) == job_patience::least));
    BOOST_TEST((patience_after(milliseconds(40)) == milliseconds(160)));
    BOOST_TEST((patience_after(milliseconds(5000)) == job_patience::most));
    BOOST_TEST((patience_after(milliseconds(1)) == job_patience::least));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
