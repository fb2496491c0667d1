// SPDX-License-Identifier: BSL-1.0
#include "loop/dispatch_scheduler.hpp"

#include <avirt/error.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>

#include <poll.h>

namespace {

using avirt::detail::dispatch_scheduler;
using avirt::detail::dispatch_state;
using avirt::detail::event_tables;
using avirt::detail::loop_backend;
using trigger = dispatch_state::trigger;

/// Counts what it is asked for.
struct fake_loop final : loop_backend
{
    int posted = 0;
    int awaited = 0;
    int idled = 0;
    int set = -1;
    avirt::event_loop_options loop_options;

    bool post_dispatch() noexcept override
    {
        ++posted;
        return true;
    }

    bool await_set(int epoll_fd) noexcept override
    {
        ++awaited;
        set = epoll_fd;
        return true;
    }

    void forget_set() noexcept override {}

    void idle() override
    {
        ++idled;
    }

    const avirt::event_loop_options& options() const noexcept override
    {
        return loop_options;
    }

    bool is_set_readable(int timeout = 0) const
    {
        pollfd p{.fd = set, .events = POLLIN, .revents = 0};
        return ::poll(&p, 1, timeout) == 1;
    }
};

struct scheduler_fixture
{
    event_tables tables;
    dispatch_scheduler scheduler{tables, [] {}};
    std::shared_ptr<fake_loop> loop = std::make_shared<fake_loop>();

    /// A dispatch that serves nothing.
    bool dispatch(const fake_loop& l, trigger due, bool has_more = false)
    {
        auto held = tables.acquire();
        if (!scheduler.begin_dispatch(held, l, due))
            return false;
        scheduler.end_dispatch(held, has_more);
        return true;
    }

    int add_timeout(int interval)
    {
        auto held = tables.acquire();
        const int id = tables.timeouts.add({.interval = interval});
        scheduler.timeouts_changed(held);
        return id;
    }

    void remove_timeout(int id)
    {
        auto held = tables.acquire();
        tables.timeouts.remove(id);
        scheduler.registration_removed(held, false);
    }
};

BOOST_FIXTURE_TEST_SUITE(dispatch_scheduler_, scheduler_fixture)

BOOST_AUTO_TEST_CASE(a_loop_with_nothing_to_do_is_told_so)
{
    scheduler.bind(loop);
    BOOST_TEST(scheduler.is_bound());
    BOOST_TEST(loop->posted == 1);
    BOOST_TEST(dispatch(*loop, trigger::post));
    BOOST_TEST(loop->idled == 1);
    BOOST_TEST(loop->awaited == 0);
    BOOST_TEST(scheduler.is_idle());
}

BOOST_AUTO_TEST_CASE(one_loop_is_bound_at_a_time)
{
    scheduler.bind(loop);
    BOOST_CHECK_THROW(scheduler.bind(std::make_shared<fake_loop>()), avirt::exception);
    scheduler.unbind(*loop);
    BOOST_TEST(!scheduler.is_bound());
    BOOST_CHECK_NO_THROW(scheduler.bind(std::make_shared<fake_loop>()));
}

BOOST_AUTO_TEST_CASE(a_budget_that_was_used_up_posts_again)
{
    scheduler.bind(loop);
    BOOST_TEST(dispatch(*loop, trigger::post, true));
    BOOST_TEST(loop->posted == 2);
}

BOOST_AUTO_TEST_CASE(a_loop_that_waits_is_signalled_once)
{
    scheduler.bind(loop);
    const int id = add_timeout(3600 * 1000);
    BOOST_TEST(dispatch(*loop, trigger::post));
    BOOST_TEST(loop->awaited == 1);
    BOOST_TEST(!loop->is_set_readable());
    scheduler.wake();
    scheduler.wake();
    BOOST_TEST(loop->is_set_readable());
    BOOST_TEST(loop->posted == 1);
    BOOST_TEST(!dispatch(*loop, trigger::post));
    BOOST_TEST(dispatch(*loop, trigger::readiness));
    remove_timeout(id);
    BOOST_TEST(dispatch(*loop, trigger::readiness));
    BOOST_TEST(loop->idled == 1);
}

BOOST_AUTO_TEST_CASE(an_earlier_deadline_is_armed_without_a_dispatch)
{
    scheduler.bind(loop);
    add_timeout(3600 * 1000);
    dispatch(*loop, trigger::post);
    add_timeout(1);
    BOOST_TEST(loop->is_set_readable(30000));
    BOOST_TEST(loop->posted == 1);
}

// A dispatch here would run after the loop has reported that it is idle.
BOOST_AUTO_TEST_CASE(work_that_the_idle_loop_knows_to_have_ended_schedules_no_dispatch)
{
    scheduler.bind(loop);
    BOOST_TEST(dispatch(*loop, trigger::post));
    BOOST_TEST(loop->idled == 1);
    scheduler.work_changed();
    BOOST_TEST(loop->posted == 1);
}

BOOST_AUTO_TEST_CASE(a_dispatch_of_another_loop_does_nothing)
{
    const fake_loop other;
    scheduler.bind(loop);
    BOOST_TEST(!dispatch(other, trigger::post));
    BOOST_TEST(dispatch(*loop, trigger::post));
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_bound_during_a_dispatch_takes_over_when_it_ends)
{
    const auto next = std::make_shared<fake_loop>();
    scheduler.bind(loop);
    auto held = tables.acquire();
    BOOST_REQUIRE(scheduler.begin_dispatch(held, *loop, trigger::post));
    held.unlock();
    BOOST_TEST(scheduler.is_dispatching_here());
    scheduler.unbind(*loop);
    scheduler.bind(next);
    BOOST_TEST(next->posted == 0);
    held.lock();
    scheduler.end_dispatch(held, true);
    BOOST_TEST(!scheduler.is_dispatching_here());
    BOOST_TEST(next->posted == 1);
    BOOST_TEST(loop->posted == 1);
}

BOOST_AUTO_TEST_CASE(the_files_are_open_while_they_are_needed)
{
    scheduler.bind(loop);
    const int id = add_timeout(1000);
    BOOST_TEST(tables.watches.epoll_fd() >= 0);
    scheduler.unbind(*loop);
    BOOST_TEST(tables.watches.epoll_fd() >= 0);
    remove_timeout(id);
    BOOST_TEST(tables.watches.epoll_fd() < 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
