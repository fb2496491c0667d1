// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <climits>
#include <fstream>
#include <vector>

namespace conformance {
namespace {

long address_space()
{
    long pages = 0;
    std::ifstream{"/proc/self/statm"} >> pages;
    return pages;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    watches, loop_fixture,
    *description("Watches are level-triggered, and any number of watches may share a file."))

BOOST_AUTO_TEST_CASE(a_ready_watch_is_called_with_its_id_fd_and_events)
{
    auto ends = make_pipe();
    auto& watch = add_watch(ends.reader.get(), readable, [&](registration& self) { take(self.fd(), 1); });
    settle();
    BOOST_TEST(watch.calls() == 0);
    put(ends.writer.get(), "x");
    run_until([&] { return watch.calls() > 0; });
    settle();
    BOOST_TEST(watch.calls() == 1);
    BOOST_TEST(watch.events() == readable);
}

BOOST_AUTO_TEST_CASE(only_the_ready_one_of_many_pipes_and_timers_is_called)
{
    std::array<pipe_ends, 31> pipes;
    std::vector<registration*> watches;
    std::vector<registration*> timers;
    for (auto& ends : pipes) {
        ends = make_pipe();
        watches.push_back(
            &add_watch(ends.reader.get(), readable, [](registration& self) { take(self.fd(), 1); }));
        timers.push_back(&add_timer(-1));
    }
    put(pipes[1].writer.get(), "x");
    run_until([&] { return watches[1]->calls() > 0; });
    settle();
    for (std::size_t i = 0; i < pipes.size(); ++i) {
        BOOST_TEST(watches[i]->calls() == (i == 1 ? 1 : 0));
        BOOST_TEST(timers[i]->calls() == 0);
    }
}

BOOST_AUTO_TEST_CASE(the_last_of_many_still_works_after_the_others_are_gone)
{
    std::array<pipe_ends, 31> pipes;
    std::vector<registration*> watches;
    for (auto& ends : pipes) {
        ends = make_pipe();
        watches.push_back(
            &add_watch(ends.reader.get(), readable, [](registration& self) { take(self.fd(), 1); }));
    }
    for (std::size_t i = 0; i + 1 < watches.size(); ++i)
        BOOST_TEST(watches[i]->remove() == 0);
    for (int round = 1; round <= 4; ++round) {
        put(pipes.back().writer.get(), "x");
        run_until([&] { return watches.back()->calls() == round; });
    }
    settle();
    BOOST_TEST(watches.back()->calls() == 4);
}

BOOST_AUTO_TEST_CASE(a_watch_removed_before_the_loop_runs_is_never_called)
{
    auto ends = make_pipe();
    put(ends.writer.get(), "x");
    auto& watch = add_watch(ends.reader.get(), readable);
    BOOST_TEST(watch.remove() == 0);
    settle();
    BOOST_TEST(watch.calls() == 0);
}

BOOST_AUTO_TEST_CASE(
    an_fd_that_is_not_open_is_refused,
    *differs("libvirt's loop accepts any number, and never sleeps again if it is not an open file. avirt "
             "reports at once that there is nothing to watch"))
{
    auto ends = make_pipe();
    const int closed = ends.reader.get();
    ends.reader.close();
    for (const int fd : {-1, INT_MIN, closed, INT_MAX})
        for (const int events : {0, readable, readable | writable}) {
            const int id = add_handle(
                fd, events, [](int, int, int, void*) { violation("called without a file"); }, nullptr,
                [](void*) { violation("freed although it was refused"); });
            BOOST_TEST(id == -1);
            remove_handle(id);
        }
    settle();
}

BOOST_AUTO_TEST_CASE(an_fd_far_beyond_the_open_files_costs_no_memory)
{
    const auto before = address_space();
    remove_handle(add_handle(
        50'000'000, readable, [](int, int, int, void*) {}, nullptr, nullptr));
    BOOST_TEST(address_space() - before < 1000);
}

BOOST_AUTO_TEST_CASE(a_pipe_is_reported_until_it_is_drained)
{
    auto ends = make_pipe();
    put(ends.writer.get(), "0123456789");
    auto& watch = add_watch(ends.reader.get(), readable, [](registration& self) { take(self.fd(), 1); });
    run_until([&] { return watch.calls() == 10; });
    settle();
    BOOST_TEST(watch.calls() == 10);
}

BOOST_AUTO_TEST_CASE(a_socket_is_reported_until_it_is_drained)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "0123456789");
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { take(self.fd(), 3); });
    run_until([&] { return watch.calls() == 4; });
    settle();
    BOOST_TEST(watch.calls() == 4);
}

BOOST_AUTO_TEST_CASE(bytes_arriving_one_by_one_are_each_reported)
{
    auto ends = make_socket_pair();
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    for (int n = 1; n <= 100; ++n) {
        put(ends.peer.get(), "x");
        run_until([&] { return watch.calls() == n; });
    }
}

BOOST_AUTO_TEST_CASE(an_untouched_ready_watch_is_called_again_and_again)
{
    auto ends = make_pipe();
    auto& watch = add_watch(ends.writer.get(), writable);
    run_until([&] { return watch.calls() >= 100; });
    BOOST_TEST(watch.all_events() == writable);
}

BOOST_AUTO_TEST_CASE(a_disabled_watch_is_silent_and_an_enabled_one_works_again)
{
    auto ends = make_pipe();
    put(ends.writer.get(), "x");
    auto& watch = add_watch(ends.reader.get(), 0);
    for (int round = 1; round <= 3; ++round) {
        const int before = watch.calls();
        settle();
        BOOST_TEST(watch.calls() == before);
        watch.update(readable);
        run_until([&] { return watch.calls() > before; });
        watch.update(0);
    }
}

BOOST_AUTO_TEST_CASE(an_update_to_the_same_events_changes_nothing)
{
    auto ends = make_pipe();
    auto& watch = add_watch(ends.reader.get(), readable, [](registration& self) {
        self.update(readable);
        take(self.fd(), 1);
        self.update(readable);
    });
    put(ends.writer.get(), "abc");
    run_until([&] { return watch.calls() == 3; });
    watch.update(readable);
    settle();
    BOOST_TEST(watch.calls() == 3);
    put(ends.writer.get(), "d");
    run_until([&] { return watch.calls() == 4; });
}

// As libvirt does around each of its calls.
BOOST_AUTO_TEST_CASE(disabling_and_enabling_without_a_turn_in_between_loses_nothing)
{
    auto ends = make_socket_pair();
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    for (int n = 1; n <= 50; ++n) {
        watch.update(0);
        put(ends.peer.get(), "x");
        watch.update(readable);
        run_until([&] { return watch.calls() == n; });
    }
}

BOOST_AUTO_TEST_CASE(a_watch_may_switch_between_reading_and_writing)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    auto& watch = add_watch(ends.ours.get(), readable);
    const auto next_events = [&] {
        const int before = watch.calls();
        run_until([&] { return watch.calls() > before + 2; });
        return watch.events();
    };
    BOOST_TEST(next_events() == readable);
    watch.update(writable);
    BOOST_TEST(next_events() == writable);
    watch.update(readable | writable);
    BOOST_TEST(next_events() == (readable | writable));
    watch.update(readable);
    BOOST_TEST(next_events() == readable);
}

BOOST_AUTO_TEST_CASE(many_watches_on_one_fd_each_get_their_own_events)
{
    auto ends = make_socket_pair();
    const int fd = ends.ours.get();
    put(ends.peer.get(), "x");
    auto& reads = add_watch(fd, readable);
    auto& writes = add_watch(fd, writable);
    auto& both = add_watch(fd, readable | writable);
    auto& nothing = add_watch(fd, 0);
    run_until([&] { return reads.calls() > 2 && writes.calls() > 2 && both.calls() > 2; });
    BOOST_TEST(reads.all_events() == readable);
    BOOST_TEST(writes.all_events() == writable);
    BOOST_TEST(both.all_events() == (readable | writable));
    BOOST_TEST(nothing.calls() == 0);
    BOOST_TEST(reads.id() != writes.id());
}

BOOST_AUTO_TEST_CASE(watches_on_one_fd_come_and_go_independently)
{
    auto ends = make_socket_pair();
    const int fd = ends.ours.get();
    put(ends.peer.get(), "x");
    auto& reads = add_watch(fd, readable);
    auto& writes = add_watch(fd, writable);
    BOOST_TEST(reads.remove() == 0);
    run_until([&] { return writes.calls() > 2; });
    BOOST_TEST(reads.calls() == 0);
    auto& again = add_watch(fd, readable);
    writes.update(0);
    const int silent = writes.calls();
    run_until([&] { return again.calls() > 2; });
    BOOST_TEST(writes.calls() == silent);
    again.remove();
    writes.update(writable);
    run_until([&] { return writes.calls() > silent; });
}

BOOST_AUTO_TEST_CASE(a_disabled_watch_does_not_take_the_events_of_another_on_its_fd)
{
    auto ends = make_pipe();
    auto& idle = add_watch(ends.reader.get(), 0);
    auto& watch = add_watch(ends.reader.get(), readable, [](registration& self) { take(self.fd(), 1); });
    put(ends.writer.get(), "x");
    run_until([&] { return watch.calls() == 1; });
    settle();
    BOOST_TEST(idle.calls() == 0);
    BOOST_TEST(watch.calls() == 1);
}

BOOST_AUTO_TEST_CASE(a_callback_may_add_a_watch_on_its_own_fd)
{
    auto ends = make_socket_pair();
    registration* added = nullptr;
    auto& watch = add_watch(ends.ours.get(), writable, [&](registration& self) {
        if (!added)
            added = &add_watch(self.fd(), readable, [](registration& inner) { take(inner.fd(), 1); });
        self.update(0);
    });
    put(ends.peer.get(), "x");
    run_until([&] { return watch.returned() == 1; });
    run_until([&] { return added->calls() == 1; });
    BOOST_TEST(added->events() == readable);
}

BOOST_AUTO_TEST_CASE(watches_that_are_always_ready_starve_nothing_else)
{
    std::vector<pipe_ends> pipes(200);
    std::vector<registration*> always;
    for (auto& ends : pipes) {
        ends = make_pipe();
        always.push_back(&add_watch(ends.writer.get(), writable));
    }
    const auto sockets = make_socket_pair();
    auto& watch = add_watch(sockets.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    auto& zero = add_timer(0);
    auto& timer = add_timer(1);
    std::atomic<int> handlers{0};
    const std::function<void()> again = [&] {
        if (++handlers < 100)
            loop.post(again);
    };
    loop.post(again);
    put(sockets.peer.get(), "0123456789");
    run_until(
        [&] { return watch.calls() == 10 && zero.calls() >= 10 && timer.calls() >= 3 && handlers == 100; });
    BOOST_TEST(std::ranges::all_of(always, [](auto* item) { return item->calls() > 0; }));
}

BOOST_AUTO_TEST_CASE(a_thousand_watches)
{
    rlimit files{};
    BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
    const rlimit before = files;
    files.rlim_cur = std::max(files.rlim_cur, std::min<rlim_t>(2048, files.rlim_max));
    ::setrlimit(RLIMIT_NOFILE, &files);
    const std::size_t count = files.rlim_cur >= 1200 ? 1000 : 500;
    std::vector<file> counters;
    std::vector<registration*> watches;
    for (std::size_t i = 0; i < count; ++i) {
        counters.push_back(make_event_counter(1));
        watches.push_back(&add_watch(counters.back().get(), readable));
    }
    run_until([&] { return std::ranges::all_of(watches, [](auto* watch) { return watch->calls() >= 2; }); });

    for (auto* watch : watches)
        watch->update(0);
    std::vector<int> calls;
    for (auto* watch : watches)
        calls.push_back(watch->calls());
    watches[count / 2]->update(readable);
    run_until([&] { return watches[count / 2]->calls() > calls[count / 2]; });
    watches[count / 2]->update(0);
    calls[count / 2] = watches[count / 2]->calls();
    settle();
    for (std::size_t i = 0; i < count; ++i)
        BOOST_TEST(watches[i]->calls() == calls[i]);
    teardown();
    counters.clear();
    ::setrlimit(RLIMIT_NOFILE, &before);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
