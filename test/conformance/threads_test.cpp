// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>

namespace conformance {
namespace {

// The wait is limited, so that a callback does not block a thread of the loop for ever if the test fails.
void expect_eventually(const std::function<bool()>& condition, const char* what)
{
    if (!eventually(condition))
        violation(what);
}

// The loop's threads are among them.
bool all_other_threads_sleep()
{
    const auto mine = std::to_string(::gettid());
    for (const auto& thread : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::ifstream file{thread.path() / "stat"};
        std::string status;
        std::getline(file, status);
        const auto name_end = status.rfind(") ");
        const bool sleeps = name_end != std::string::npos && status[name_end + 2] == 'S';
        if (!sleeps && thread.path().filename() != mine)
            return false;
    }
    return true;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    threads, loop_fixture,
    *description("libvirt calls the loop on any thread on which the application calls libvirt."))

BOOST_AUTO_TEST_CASE(a_watch_can_be_used_on_another_thread)
{
    for (int i = 0; i < 50; ++i) {
        const auto ends = make_socket_pair();
        helper_thread helper{[&] {
            auto& watch = add_watch(ends.ours.get(), 0, [](registration& self) { take(self.fd(), 1); });
            put(ends.peer.get(), "x");
            watch.update(readable);
            expect_eventually([&] { return watch.returned() == 1; }, "enabling did not wake the loop");
            watch.update(writable);
            expect_eventually([&] { return watch.returned() > 1; }, "new events did not wake the loop");
            watch.update(0);
            if (watch.remove() != 0)
                violation("remove failed");
            expect_eventually([&] { return watch.frees() == 1; }, "removal did not wake the loop");
        }};
        run_until([&] { return helper.finished(); });
    }
}

BOOST_AUTO_TEST_CASE(a_watch_on_a_regular_file_can_be_used_on_another_thread)
{
    const auto regular = make_regular_file("x");
    for (int i = 0; i < 50; ++i) {
        helper_thread helper{[&] {
            auto& watch = add_watch(regular.get(), 0);
            for (int n = 0; n < 3; ++n) {
                const int before = watch.calls();
                watch.update(readable);
                expect_eventually([&] { return watch.calls() > before; }, "enabling did not wake the loop");
                watch.update(0);
            }
            if (watch.remove() != 0)
                violation("remove failed");
            expect_eventually([&] { return watch.frees() == 1; }, "removal did not wake the loop");
        }};
        run_until([&] { return helper.finished(); });
    }
}

BOOST_AUTO_TEST_CASE(a_timeout_can_be_used_on_another_thread)
{
    for (int i = 0; i < 50; ++i) {
        helper_thread helper{[&] {
            auto& timer = add_timer(3'600'000);
            timer.update(0);
            expect_eventually([&] { return timer.calls() > 2; }, "zero did not wake the loop");
            timer.update(3'600'000);
            timer.update(1);
            const int before = timer.calls();
            expect_eventually(
                [&] { return timer.calls() > before; }, "a shorter interval did not wake the loop");
            timer.update(-1);
            if (timer.remove() != 0)
                violation("remove failed");
            expect_eventually([&] { return timer.frees() == 1; }, "removal did not wake the loop");
        }};
        run_until([&] { return helper.finished(); });
    }
}

BOOST_AUTO_TEST_CASE(a_sleeping_loop_is_woken_by_anything_that_becomes_due)
{
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    auto& timer = add_timer(3'600'000);
    auto& watch = add_watch(ends.ours.get(), 0);
    const auto await = [](const std::function<bool()>& condition, const char* what) {
        if (!eventually(condition))
            throw std::runtime_error{what};
    };
    const auto await_call = [&](registration& item, int wanted, int off, const char* what) {
        const int before = item.calls();
        await(all_other_threads_sleep, "the loop does not sleep");
        item.update(wanted);
        await([&] { return item.calls() > before; }, what);
        item.update(off);
    };
    helper_thread helper{[&] {
        for (int i = 0; i < 20; ++i) {
            await_call(timer, 0, 3'600'000, "zero did not wake the loop");
            await_call(timer, 1, -1, "a shorter interval did not wake the loop");
            await_call(watch, readable, 0, "a watch that was enabled did not wake the loop");
            await_call(watch, writable, 0, "other events did not wake the loop");
            await(all_other_threads_sleep, "the loop does not sleep");
            auto& new_timer = add_timer(1, [](registration& self) { self.update(-1); });
            await([&] { return new_timer.calls() == 1; }, "a new timeout did not wake the loop");
            await(all_other_threads_sleep, "the loop does not sleep");
            auto& new_watch =
                add_watch(ends.ours.get(), readable, [](registration& self) { self.update(0); });
            await([&] { return new_watch.calls() == 1; }, "a new watch did not wake the loop");
            await(all_other_threads_sleep, "the loop does not sleep");
            new_timer.remove();
            await([&] { return new_timer.frees() == 1; }, "a removal did not wake the loop");
        }
    }};
    run_until([&] { return helper.finished(); });
}

BOOST_AUTO_TEST_CASE(a_watch_or_timeout_removed_while_the_loop_sleeps_is_not_called)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.reader.get(), readable);
    auto& timer = add_timer(3'600'000);
    helper_thread helper{[&] {
        expect_eventually(all_other_threads_sleep, "the loop does not sleep");
        if (watch.remove() != 0 || timer.remove() != 0)
            violation("remove failed");
        put(ends.writer.get(), "x");
        expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "nothing was freed");
    }};
    run_until([&] { return helper.finished(); });
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(timer.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_timeout_disabled_on_another_thread_fires_at_most_once_more)
{
    auto& timer = add_timer(0);
    auto& marker = add_timer(0);
    for (int i = 0; i < 100; ++i) {
        timer.update(0);
        helper_thread helper{[&] {
            const int start = timer.calls();
            expect_eventually([&] { return timer.calls() > start; }, "zero did not fire");
            timer.update(-1);
            // One callback may still be under way.
            const int seen = timer.calls();
            const int turn = marker.calls();
            expect_eventually([&] { return marker.calls() > turn + 10; }, "the loop stopped");
            if (timer.calls() > seen + 1)
                violation("a disabled timeout went on firing");
        }};
        run_until([&] { return helper.finished(); });
    }
}

BOOST_AUTO_TEST_CASE(a_watch_disabled_on_another_thread_is_called_at_most_once_more)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.writer.get(), writable);
    auto& marker = add_timer(0);
    for (int i = 0; i < 100; ++i) {
        watch.update(writable);
        helper_thread helper{[&] {
            const int start = watch.calls();
            expect_eventually([&] { return watch.calls() > start; }, "a ready watch was not called");
            watch.update(0);
            const int seen = watch.calls();
            const int turn = marker.calls();
            expect_eventually([&] { return marker.calls() > turn + 10; }, "the loop stopped");
            if (watch.calls() > seen + 1)
                violation("a disabled watch went on being called");
        }};
        run_until([&] { return helper.finished(); });
    }
}

BOOST_AUTO_TEST_CASE(removal_on_another_thread_neither_waits_for_the_callback_nor_frees_during_it)
{
    const auto ends = make_pipe();
    for (const bool is_timeout : {false, true}) {
        std::atomic<bool> entered{false};
        std::atomic<bool> removed{false};
        const auto act = [&](registration&) {
            entered = true;
            expect_eventually([&] { return removed.load(); }, "remove waited for the callback");
        };
        auto& item = is_timeout ? add_timer(0, act) : add_watch(ends.writer.get(), writable, act);
        helper_thread helper{[&] {
            expect_eventually([&] { return entered.load(); }, "nothing was called");
            item.update(is_timeout ? 5 : readable);
            if (item.remove() != 0)
                violation("remove failed");
            removed = true;
        }};
        run_until([&] { return helper.finished() && item.frees() == 1; });
        BOOST_TEST(item.calls() == 1);
    }
}

BOOST_AUTO_TEST_CASE(adding_and_updating_on_another_thread_does_not_wait_for_a_callback)
{
    const auto ends = make_pipe();
    std::atomic<bool> entered{false};
    std::atomic<bool> done{false};
    auto& busy = add_timer(0, [&](registration& self) {
        entered = true;
        expect_eventually([&] { return done.load(); }, "adding or updating waited for the callback");
        self.remove();
    });
    registration* watch = nullptr;
    registration* timer = nullptr;
    helper_thread helper{[&] {
        expect_eventually([&] { return entered.load(); }, "nothing was called");
        watch = &add_watch(ends.writer.get(), 0, [](registration& self) { self.update(0); });
        timer = &add_timer(-1, [](registration& self) { self.update(-1); });
        watch->update(writable);
        timer->update(0);
        done = true;
    }};
    run_until([&] { return helper.finished() && busy.frees() == 1; });
    run_until([&] { return watch->calls() == 1 && timer->calls() == 1; });
}

// libvirt holds an object's lock around the six functions, and its callbacks take the same lock.
BOOST_AUTO_TEST_CASE(a_lock_held_around_the_functions_may_be_taken_in_callbacks)
{
    const auto ends = make_socket_pair();
    std::mutex object;
    auto& watch =
        add_watch(ends.ours.get(), writable, [&](registration&) { const std::scoped_lock lock{object}; });
    auto& timer = add_timer(0, [&](registration&) { const std::scoped_lock lock{object}; });
    helper_thread helper{[&] {
        for (int i = 0; i < 2000; ++i) {
            const std::scoped_lock lock{object};
            watch.update(i % 2 == 0 ? 0 : writable);
            timer.update(i % 3 - 1);
            auto& extra = add_timer(0, [&](registration&) { const std::scoped_lock inner{object}; });
            extra.on_free([&] { const std::scoped_lock inner{object}; });
            extra.remove();
        }
    }};
    run_until([&] { return helper.finished(); });
}

BOOST_AUTO_TEST_CASE(callbacks_never_run_at_the_same_time)
{
    constexpr int count = 16;
    std::atomic<int> inside{0};
    std::atomic<int> overlaps{0};
    const auto look = [&](registration&) {
        if (inside.fetch_add(1) != 0)
            ++overlaps;
        std::this_thread::yield();
        --inside;
    };
    std::vector<pipe_ends> pipes;
    std::vector<registration*> items;
    for (int i = 0; i < count; ++i) {
        pipes.push_back(make_pipe());
        items.push_back(&add_watch(pipes.back().writer.get(), writable, look));
        items.push_back(&add_timer(i % 2, look));
    }
    run_until([&] {
        for (const auto* item : items)
            if (item->calls() < 10)
                return false;
        return true;
    });
    BOOST_TEST(overlaps == 0);
}

BOOST_AUTO_TEST_CASE(a_late_update_from_another_thread_does_not_affect_a_successor)
{
    const auto ends = make_pipe();
    auto& old = add_watch(ends.writer.get(), writable);
    auto& old_timer = add_timer(0);
    old.remove();
    old_timer.remove();
    auto& watch = add_watch(ends.writer.get(), 0);
    auto& timer = add_timer(-1);
    helper_thread helper{[&] {
        for (int i = 0; i < 100; ++i) {
            old.update(writable);
            old_timer.update(0);
        }
    }};
    run_until([&] { return helper.finished(); });
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(timer.calls() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
