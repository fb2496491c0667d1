// SPDX-License-Identifier: BSL-1.0

// How one callback affects other watches and timeouts that are ready in the same turn. The order within a
// turn is not specified, so each case is symmetrical: whichever callback comes first acts on the rest.
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

namespace conformance {
namespace {

struct ready_pipes
{
    std::vector<pipe_ends> pipes;

    explicit ready_pipes(std::size_t count)
    {
        for (std::size_t i = 0; i < count; ++i) {
            pipes.push_back(make_pipe());
            put(pipes.back().writer.get(), "x");
        }
    }
};

int total_calls(const std::vector<registration*>& items)
{
    int sum = 0;
    for (const auto* item : items)
        sum += item->calls();
    return sum;
}

struct dispatch_fixture : loop_fixture
{
    /// Runs the loop until it has called an item, and checks that it calls no other.
    void check_one_call(const std::vector<registration*>& items)
    {
        run_until([&] { return total_calls(items) > 0; });
        settle();
        BOOST_TEST(total_calls(items) == 1);
    }

    /// Checks that only one of many timers is called if all are due in one turn and each ends all of them.
    void check_due_timers(int interval, const std::function<void(registration&)>& end)
    {
        std::vector<registration*> timers;
        for (int i = 0; i < 31; ++i)
            timers.push_back(&add_timer(interval, [&](registration&) {
                for (auto* timer : timers)
                    end(*timer);
            }));
        const auto due = std::chrono::steady_clock::now() + std::chrono::milliseconds{3};
        BOOST_REQUIRE(eventually([&] { return std::chrono::steady_clock::now() > due; }));
        check_one_call(timers);
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    dispatch, dispatch_fixture,
    *description("How a callback affects other watches and timeouts that are ready in the same turn."))

BOOST_AUTO_TEST_CASE(a_watch_removed_earlier_in_the_turn_is_not_called)
{
    const ready_pipes ready{31};
    std::vector<registration*> watches;
    for (const auto& ends : ready.pipes)
        watches.push_back(&add_watch(ends.reader.get(), readable, [&](registration& self) {
            for (auto* other : watches)
                if (other != &self)
                    other->remove();
            take(self.fd(), 1);
        }));
    check_one_call(watches);
}

BOOST_AUTO_TEST_CASE(a_watch_disabled_earlier_in_the_turn_is_not_called)
{
    const ready_pipes ready{31};
    std::vector<registration*> watches;
    for (const auto& ends : ready.pipes)
        watches.push_back(&add_watch(ends.reader.get(), readable, [&](registration&) {
            for (auto* other : watches)
                other->update(0);
        }));
    check_one_call(watches);
}

BOOST_AUTO_TEST_CASE(a_watch_disabled_earlier_in_the_turn_is_not_told_of_a_hangup)
{
    ready_pipes ready{8};
    std::vector<registration*> watches;
    for (auto& ends : ready.pipes) {
        ends.writer.close();
        watches.push_back(&add_watch(ends.reader.get(), readable, [&](registration&) {
            for (auto* other : watches)
                other->update(0);
        }));
    }
    check_one_call(watches);
}

BOOST_AUTO_TEST_CASE(events_no_longer_asked_for_are_not_reported_later_in_the_turn)
{
    std::array<socket_ends, 8> pairs;
    std::vector<registration*> watches;
    for (auto& ends : pairs) {
        ends = make_socket_pair();
        put(ends.peer.get(), "x");
        watches.push_back(&add_watch(ends.ours.get(), readable | writable, [&](registration& self) {
            if (total_calls(watches) == 1) {
                for (auto* other : watches)
                    other->update(writable);
            }
            self.update(0);
        }));
    }
    run_until([&] { return total_calls(watches) == 8; });
    settle();
    int with_readable = 0;
    for (const auto* watch : watches) {
        BOOST_TEST(watch->calls() == 1);
        with_readable += (watch->all_events() & readable) != 0 ? 1 : 0;
    }
    BOOST_TEST(with_readable == 1);
}

BOOST_AUTO_TEST_CASE(a_watch_that_removes_itself_is_called_once)
{
    const ready_pipes ready{1};
    auto& watch = add_watch(ready.pipes[0].reader.get(), readable, [](registration& self) { self.remove(); });
    run_until([&] { return watch.frees() == 1; });
    settle();
    BOOST_TEST(watch.calls() == 1);
    BOOST_TEST(watch.frees() == 1);
}

BOOST_AUTO_TEST_CASE(watches_on_one_fd_may_remove_each_other)
{
    const ready_pipes ready{1};
    std::vector<registration*> watches;
    for (int i = 0; i < 5; ++i)
        watches.push_back(&add_watch(ready.pipes[0].reader.get(), readable, [&](registration&) {
            for (auto* other : watches)
                other->remove();
        }));
    check_one_call(watches);
}

BOOST_AUTO_TEST_CASE(a_ready_watch_and_a_due_timer_may_remove_each_other)
{
    const ready_pipes ready{1};
    std::vector<registration*> items;
    const auto remove_all = [&](registration&) {
        for (auto* item : items)
            item->remove();
    };
    items.push_back(&add_watch(ready.pipes[0].reader.get(), readable, remove_all));
    items.push_back(&add_timer(0, remove_all));
    check_one_call(items);
}

BOOST_AUTO_TEST_CASE(a_due_timer_removed_earlier_in_the_turn_is_not_called)
{
    for (const int interval : {0, 1})
        check_due_timers(interval, [](registration& timer) { timer.remove(); });
}

BOOST_AUTO_TEST_CASE(a_due_timer_disabled_earlier_in_the_turn_is_not_called)
{
    for (const int interval : {0, 1})
        check_due_timers(interval, [](registration& timer) { timer.update(-1); });
}

BOOST_AUTO_TEST_CASE(an_fd_reused_within_the_turn_does_not_inherit_an_event)
{
    ready_pipes ready{2};
    std::array<pipe_ends, 2> fresh;
    std::vector<registration*> watches;
    registration* successor = nullptr;
    for (std::size_t i = 0; i < 2; ++i)
        watches.push_back(&add_watch(ready.pipes[i].reader.get(), readable, [&, i](registration& self) {
            take(self.fd(), 1);
            if (successor)
                return;
            const std::size_t other = 1 - i;
            const int number = ready.pipes[other].reader.get();
            watches[other]->remove();
            ready.pipes[other].reader.close();
            fresh[other] = make_pipe_at(number);
            successor = &add_watch(number, readable, [](registration& inner) { take(inner.fd(), 1); });
        }));
    check_one_call(watches);
    BOOST_REQUIRE(successor);
    BOOST_TEST(successor->calls() == 0);
    for (const auto& ends : fresh)
        if (ends.writer.get() >= 0)
            put(ends.writer.get(), "x");
    run_until([&] { return successor->calls() == 1; });
}

BOOST_AUTO_TEST_CASE(a_watch_or_timer_added_by_a_callback_is_served)
{
    const ready_pipes ready{1};
    const ready_pipes later{1};
    registration* timer = nullptr;
    registration* watch = nullptr;
    auto& first = add_watch(ready.pipes[0].reader.get(), readable, [&](registration& self) {
        timer = &add_timer(0, [](registration& inner) { inner.remove(); });
        watch =
            &add_watch(later.pipes[0].reader.get(), readable, [](registration& inner) { inner.remove(); });
        self.remove();
    });
    run_until([&] { return first.returned() == 1; });
    run_until([&] { return timer->frees() == 1 && watch->frees() == 1; });
    BOOST_TEST(timer->calls() == 1);
    BOOST_TEST(watch->calls() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
