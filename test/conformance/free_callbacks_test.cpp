// SPDX-License-Identifier: BSL-1.0

// The class registration checks when, where and how often each free callback runs.
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <mutex>
#include <vector>

namespace conformance {
namespace {

const differs frees_when_idle{
    "libvirt's loop calls free callbacks only when it has nothing else to do. Under this load it never does, "
    "so a closed connection's socket would stay open"};

bool each_was_freed(const std::vector<registration*>& items)
{
    return std::ranges::all_of(items, [](const auto* item) { return item->frees() == 1; });
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    free_callbacks, loop_fixture,
    *description(
        "A free callback runs once, after removal, when the callback has returned, and on a clean stack."))

BOOST_AUTO_TEST_CASE(they_run_after_removal_and_not_inside_it)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.reader.get(), readable);
    auto& disabled = add_watch(ends.reader.get(), 0);
    auto& timer = add_timer(0);
    auto& sleeping = add_timer(-1);
    settle();
    for (auto* item : {&watch, &disabled, &timer, &sleeping}) {
        BOOST_TEST(item->frees() == 0);
        BOOST_TEST(item->remove() == 0);
        BOOST_TEST(item->frees() == 0);
    }
    run_until([&] { return watch.frees() + disabled.frees() + timer.frees() + sleeping.frees() == 4; });
    settle();
}

BOOST_AUTO_TEST_CASE(they_run_when_a_callback_removes_its_own_watch)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.writer.get(), writable, [](registration& self) {
        self.remove();
        if (self.frees() != 0)
            violation("freed inside its own callback");
    });
    run_until([&] { return watch.frees() == 1; });
    settle();
    BOOST_TEST(watch.calls() == 1);
}

BOOST_AUTO_TEST_CASE(a_free_callback_is_optional)
{
    const auto ends = make_pipe();
    const int watch = add_handle(
        ends.writer.get(), writable, [](int, int, int, void*) {}, nullptr, nullptr);
    const int timer = add_timeout(
        0, [](int, void*) {}, nullptr, nullptr);
    settle();
    BOOST_TEST(remove_handle(watch) == 0);
    BOOST_TEST(remove_timeout(timer) == 0);
    settle();
}

BOOST_AUTO_TEST_CASE(they_run_while_a_zero_timeout_is_always_due, *frees_when_idle)
{
    const auto ends = make_pipe();
    auto& always = add_timer(0);
    auto& watch = add_watch(ends.writer.get(), writable);
    auto& timer = add_timer(0);
    run_until([&] { return always.calls() > 5 && watch.calls() > 5; });
    watch.remove();
    timer.remove();
    const int before = always.calls();
    const auto freed = [&] { return watch.frees() == 1 && timer.frees() == 1; };
    run_until([&] { return freed() || always.calls() > before + 200; });
    BOOST_TEST(freed());
}

BOOST_AUTO_TEST_CASE(they_run_while_callbacks_keep_adding_and_removing, *frees_when_idle)
{
    std::vector<registration*> removed;
    auto& churn = add_timer(0, [&](registration& self) {
        if (self.calls() > 200)
            return;
        removed.push_back(&add_timer(self.calls() % 2 == 0 ? 0 : 3'600'000));
        removed.back()->remove();
    });
    run_until([&] { return churn.returned() > 400; });
    BOOST_TEST(removed.size() == 200u);
    BOOST_TEST(each_was_freed(removed));
}

BOOST_AUTO_TEST_CASE(they_run_for_timeouts_that_a_callback_adds_and_removes)
{
    std::vector<registration*> removed;
    auto& churn = add_timer(0, [&](registration& self) {
        for (const int interval : {0, 3'600'000}) {
            removed.push_back(&add_timer(interval));
            removed.back()->remove();
        }
        if (self.calls() == 100)
            self.remove();
    });
    run_until([&] { return churn.frees() == 1; });
    run_until([&] { return each_was_freed(removed); });
    for (const auto* timer : removed)
        BOOST_TEST(timer->calls() == 0);
}

// libvirt frees a socket under the lock that it holds while it removes the socket's watch.
BOOST_AUTO_TEST_CASE(they_may_take_a_lock_that_was_held_during_removal)
{
    const auto ends = make_pipe();
    std::mutex object;
    std::atomic<int> locked{0};
    const auto lock_object = [&] {
        const std::scoped_lock lock{object};
        ++locked;
    };
    auto& watch = add_watch(ends.writer.get(), writable, [&](registration& self) {
        const std::scoped_lock lock{object};
        self.remove();
    });
    auto& timer = add_timer(-1);
    watch.on_free(lock_object);
    timer.on_free(lock_object);
    {
        const std::scoped_lock lock{object};
        timer.remove();
    }
    run_until([&] { return watch.frees() == 1 && timer.frees() == 1; });
    BOOST_TEST(locked == 2);
}

BOOST_AUTO_TEST_CASE(they_may_call_libvirt)
{
    const auto ends = make_pipe();
    registration* added = nullptr;
    auto& other = add_timer(3'600'000);
    auto& watch = add_watch(ends.reader.get(), readable);
    watch.on_free([&] {
        added = &add_timer(0, [](registration& self) { self.remove(); });
        other.update(-1);
        if (other.remove() != 0)
            violation("a free callback could not remove a timeout");
        if (remove_handle(watch.id()) != -1)
            violation("a watch could be removed by its free callback");
    });
    watch.remove();
    run_until([&] { return watch.frees() == 1 && other.frees() == 1; });
    run_until([&] { return added->frees() == 1; });
    BOOST_TEST(added->calls() == 1);
}

BOOST_AUTO_TEST_CASE(each_of_many_at_once_runs_once)
{
    const auto ends = make_pipe();
    std::vector<registration*> items;
    for (int i = 0; i < 500; ++i) {
        items.push_back(&add_watch(ends.reader.get(), i % 2 == 0 ? readable : 0));
        items.push_back(&add_timer(i % 3 - 1));
    }
    for (auto* item : items)
        BOOST_REQUIRE(item->remove() == 0);
    run_until([&] { return each_was_freed(items); });
    settle();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
