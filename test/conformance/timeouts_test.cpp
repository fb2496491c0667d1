// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <climits>
#include <cstdlib>
#include <vector>

namespace conformance {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

BOOST_FIXTURE_TEST_SUITE(
    timeouts, loop_fixture,
    *description("A timeout never fires early, nor after it was called off. Zero fires in every turn."))

BOOST_AUTO_TEST_CASE(a_timeout_fires_periodically_and_never_early)
{
    const auto start = steady_clock::now();
    auto& timer = add_timer(5);
    run_until([&] { return timer.calls() >= 4; });
    BOOST_TEST((steady_clock::now() - start >= milliseconds{4 * 5 - 1}));
}

BOOST_AUTO_TEST_CASE(timeouts_fire_in_the_order_of_their_deadlines)
{
    std::vector<int> order;
    const auto note = [&](registration& self) {
        order.push_back(self.id());
        self.remove();
    };
    // The deadlines are so far apart that the order of adding does not matter.
    const auto& late = add_timer(60, note);
    const auto& early = add_timer(1, note);
    const auto& middle = add_timer(30, note);
    run_until([&] { return late.frees() + early.frees() + middle.frees() == 3; });
    const std::vector<int> expected{early.id(), middle.id(), late.id()};
    BOOST_TEST(order == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(zero_fires_in_every_turn)
{
    auto& timer = add_timer(0);
    run_until([&] { return timer.calls() >= 1000; });
}

BOOST_AUTO_TEST_CASE(zero_fires_once_in_a_turn)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.writer.get(), writable);
    std::vector<registration*> timers;
    for (int i = 0; i < 3; ++i)
        timers.push_back(&add_timer(0));
    run_until([&] { return watch.calls() >= 1000; });
    // With several threads the counts may differ by some turns.
    for (const auto* timer : timers)
        BOOST_TEST(std::abs(timer->calls() - watch.calls()) <= 100);
}

BOOST_AUTO_TEST_CASE(zero_starves_nothing_else)
{
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "0123456789");
    auto& always = add_timer(0);
    auto& also = add_timer(0);
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    auto& timer = add_timer(1);
    std::atomic<int> handlers{0};
    std::function<void()> again = [&] {
        if (++handlers < 100)
            loop.post(again);
    };
    loop.post(again);
    run_until([&] { return handlers == 100 && watch.calls() == 10 && timer.calls() >= 3; });
    BOOST_TEST(always.calls() > 0);
    BOOST_TEST(also.calls() > 0);
}

BOOST_AUTO_TEST_CASE(any_negative_interval_disables_a_timeout)
{
    std::vector<registration*> timers;
    for (const int interval : {-1, -2, -1000, INT_MIN})
        timers.push_back(&add_timer(interval));
    settle();
    for (auto* timer : timers) {
        BOOST_TEST(timer->calls() == 0);
        timer->update(0);
    }
    run_until([&] { return timers.front()->calls() > 2 && timers.back()->calls() > 2; });
    for (auto* timer : timers)
        timer->update(INT_MIN);
    std::vector<int> before;
    for (auto* timer : timers)
        before.push_back(timer->calls());
    settle();
    for (std::size_t i = 0; i < timers.size(); ++i)
        BOOST_TEST(timers[i]->calls() == before[i]);
    for (auto* timer : timers)
        BOOST_TEST(timer->remove() == 0);
}

BOOST_AUTO_TEST_CASE(the_longest_interval_does_not_wrap_around)
{
    auto& longest = add_timer(INT_MAX);
    auto& updated = add_timer(0);
    updated.update(INT_MAX);
    auto& marker = add_timer(2);
    run_until([&] { return marker.calls() >= 3; });
    BOOST_TEST(longest.calls() == 0);
    BOOST_TEST(updated.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_timeout_removed_before_the_loop_runs_never_fires)
{
    auto& now = add_timer(0);
    auto& soon = add_timer(1);
    now.remove();
    soon.remove();
    auto& marker = add_timer(3);
    run_until([&] { return marker.calls() >= 2; });
    BOOST_TEST(now.calls() == 0);
    BOOST_TEST(soon.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_timeout_called_off_when_already_due_never_fires)
{
    auto& disabled = add_timer(2);
    auto& postponed = add_timer(2);
    auto& removed = add_timer(2);
    auto& at_once = add_timer(0);
    // All of them are already due when they are disabled, postponed or removed.
    const auto due = steady_clock::now() + milliseconds{3};
    BOOST_REQUIRE(eventually([&] { return steady_clock::now() > due; }));
    disabled.update(-1);
    postponed.update(3'600'000);
    removed.remove();
    at_once.update(3'600'000);
    auto& marker = add_timer(3);
    run_until([&] { return marker.calls() >= 3; });
    BOOST_TEST(disabled.calls() == 0);
    BOOST_TEST(postponed.calls() == 0);
    BOOST_TEST(removed.calls() == 0);
    BOOST_TEST(at_once.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_postponed_timeout_is_silent_after_having_fired)
{
    auto& timer = add_timer(0);
    run_until([&] { return timer.calls() > 5; });
    timer.update(3'600'000);
    const int before = timer.calls();
    settle();
    BOOST_TEST(timer.calls() == before);
    timer.update(0);
    run_until([&] { return timer.calls() > before; });
}

BOOST_AUTO_TEST_CASE(an_hour_can_be_cut_short)
{
    auto& to_zero = add_timer(3'600'000);
    auto& to_soon = add_timer(3'600'000);
    settle();
    to_zero.update(0);
    to_soon.update(2);
    run_until([&] { return to_zero.calls() >= 3 && to_soon.calls() >= 3; });
}

BOOST_AUTO_TEST_CASE(a_delayed_loop_does_not_catch_up_on_missed_intervals)
{
    constexpr milliseconds interval{4};
    steady_clock::time_point released;
    std::atomic<int> before{0};
    auto& timer = add_timer(interval.count());
    auto& holder = add_timer(0, [&](registration& self) {
        const auto end = steady_clock::now() + 20 * interval;
        if (!eventually([&] { return steady_clock::now() >= end; }))
            violation("the clock stands still");
        released = steady_clock::now();
        before = timer.calls();
        self.remove();
    });
    run_until([&] { return holder.frees() == 1; });
    run_until([&] { return timer.calls() >= before + 6; });
    BOOST_TEST((steady_clock::now() - released >= 4 * interval));
}

BOOST_AUTO_TEST_CASE(a_callback_may_cut_a_sleeping_timeout_short)
{
    auto& sleeping = add_timer(3'600'000);
    auto& starter = add_timer(1, [&](registration& self) {
        sleeping.update(1);
        self.update(-1);
    });
    run_until([&] { return sleeping.calls() >= 2; });
    BOOST_TEST(starter.calls() == 1);
}

BOOST_AUTO_TEST_CASE(an_update_restarts_the_interval)
{
    constexpr milliseconds interval{20};
    steady_clock::time_point latest;
    steady_clock::time_point fired;
    registration* restarted = nullptr;
    auto& ticks = add_timer(1, [&](registration&) {
        if (restarted) {
            latest = steady_clock::now();
            restarted->update(interval.count());
        }
    });
    latest = steady_clock::now();
    auto& timer = add_timer(interval.count(), [&](registration&) {
        fired = steady_clock::now();
        if (fired - latest < interval - milliseconds{1})
            violation("the interval was not restarted");
    });
    restarted = &timer;
    run_until([&] { return ticks.calls() >= 50; });
    ticks.remove();
    const int before = timer.calls();
    run_until([&] { return timer.calls() > before; });
}

// As libvirt's streams do for each packet.
BOOST_AUTO_TEST_CASE(a_watch_may_enable_a_timeout_that_disables_itself_again)
{
    const auto ends = make_socket_pair();
    auto& timer = add_timer(-1, [](registration& self) { self.update(-1); });
    auto& watch = add_watch(ends.ours.get(), readable, [&](registration& self) {
        take(self.fd(), 1);
        timer.update(0);
    });
    for (int n = 1; n <= 100; ++n) {
        put(ends.peer.get(), "x");
        run_until([&] { return timer.returned() == n; });
    }
    settle();
    BOOST_TEST(timer.calls() == 100);
    BOOST_TEST(watch.calls() == 100);
}

BOOST_AUTO_TEST_CASE(zero_takes_effect_however_often_it_is_set)
{
    auto& timer = add_timer(-1, [](registration& self) { self.update(-1); });
    for (int n = 1; n <= 20; ++n) {
        timer.update(0);
        timer.update(0);
        timer.update(-1);
        timer.update(0);
        run_until([&] { return timer.returned() == n; });
    }
    settle();
    BOOST_TEST(timer.calls() == 20);
}

BOOST_AUTO_TEST_CASE(an_enabled_then_disabled_timeout_does_not_fire)
{
    auto& timer = add_timer(-1);
    timer.update(0);
    timer.update(-1);
    settle();
    BOOST_TEST(timer.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_timeout_that_removes_itself_fires_once)
{
    auto& now = add_timer(0, [](registration& self) { self.remove(); });
    auto& soon = add_timer(1, [](registration& self) { self.remove(); });
    run_until([&] { return now.frees() == 1 && soon.frees() == 1; });
    settle();
    BOOST_TEST(now.calls() == 1);
    BOOST_TEST(soon.calls() == 1);
}

BOOST_AUTO_TEST_CASE(a_timeout_may_add_its_successor)
{
    std::atomic<int> generations{0};
    registration::action next = [&](registration& self) {
        self.remove();
        if (++generations < 50)
            add_timer(generations % 2, next);
    };
    add_timer(0, next);
    run_until([&] { return generations == 50; });
}

BOOST_AUTO_TEST_CASE(a_callback_may_change_its_own_interval)
{
    auto& timer = add_timer(1, [](registration& self) {
        const int n = self.calls();
        self.update(n < 5 ? 0 : n < 8 ? 1 : n < 10 ? 2 : -1);
    });
    run_until([&] { return timer.calls() == 10; });
    settle();
    BOOST_TEST(timer.calls() == 10);
}

BOOST_AUTO_TEST_CASE(the_last_of_many_timeouts_still_fires_after_the_others_are_gone)
{
    for (const int interval : {0, 1}) {
        std::vector<registration*> timers;
        for (int i = 0; i < 31; ++i)
            timers.push_back(&add_timer(interval, [](registration& self) { self.update(-1); }));
        auto& last = *timers.back();
        for (auto* timer : timers)
            if (timer != &last)
                BOOST_TEST(timer->remove() == 0);
        run_until([&] { return last.returned() == 1; });
        for (int n = 2; n <= 4; ++n) {
            last.update(interval);
            run_until([&] { return last.returned() == n; });
        }
        settle();
        BOOST_TEST(last.calls() == 4);
    }
}

BOOST_AUTO_TEST_CASE(thousands_of_sleeping_timeouts)
{
    std::vector<registration*> timers;
    for (int i = 0; i < 5000; ++i)
        timers.push_back(&add_timer(i % 2 == 0 ? -1 : 3'600'000 + i));
    auto& soon = add_timer(1);
    run_until([&] { return soon.calls() >= 3; });
    timers[2501]->update(0);
    run_until([&] { return timers[2501]->calls() >= 3; });
    timers[2501]->update(-1);
    for (const auto* timer : timers)
        if (timer != timers[2501])
            BOOST_REQUIRE(timer->calls() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
