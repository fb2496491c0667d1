// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <vector>

namespace conformance {

BOOST_FIXTURE_TEST_SUITE(
    idle, loop_fixture, *description("A watch or timeout that is disabled, or not due, costs nothing."))

BOOST_AUTO_TEST_CASE(an_unused_loop_sleeps)
{
    BOOST_TEST(loop.comes_to_rest());
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(a_loop_with_nothing_due_sleeps)
{
    std::vector<socket_ends> pairs(20);
    for (auto& ends : pairs) {
        ends = make_socket_pair();
        add_watch(ends.ours.get(), readable);
        add_watch(ends.ours.get(), 0);
        add_timer(-1);
        add_timer(3'600'000);
    }
    BOOST_TEST(loop.comes_to_rest());
    settle();
    BOOST_TEST(loop.comes_to_rest());
}

BOOST_AUTO_TEST_CASE(a_loop_that_was_busy_sleeps_again)
{
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    auto& watch = add_watch(ends.ours.get(), readable | writable);
    auto& timer = add_timer(0);
    run_until([&] { return watch.calls() > 10 && timer.calls() > 10; });
    watch.update(0);
    timer.update(-1);
    BOOST_TEST(loop.comes_to_rest());
    watch.update(readable);
    run_until([&] { return watch.calls() > 20; });
    watch.update(0);
    BOOST_TEST(loop.comes_to_rest());
}

BOOST_AUTO_TEST_CASE(disabled_watches_cost_nothing_whatever_happens_to_their_files)
{
    auto pipes = make_pipe();
    auto broken = make_pipe();
    auto sockets = make_socket_pair();
    const auto regular = make_regular_file("x");
    put(pipes.writer.get(), "x");
    put(sockets.peer.get(), "x");
    for (const int fd : {pipes.reader.get(), broken.writer.get(), sockets.ours.get(), regular.get()}) {
        auto& watch = add_watch(fd, readable | writable);
        run_until([&] { return watch.calls() > 0; });
        watch.update(0);
    }
    BOOST_TEST(loop.comes_to_rest());
    pipes.writer.close();
    broken.reader.close();
    sockets.peer.close();
    BOOST_TEST(loop.comes_to_rest());
}

BOOST_AUTO_TEST_CASE(a_watch_for_events_that_a_regular_file_never_has_costs_nothing)
{
    const auto regular = make_regular_file("x");
    for (const int events : {error, hangup, error | hangup}) {
        auto& watch = add_watch(regular.get(), events);
        settle();
        BOOST_TEST(loop.comes_to_rest());
        BOOST_TEST(watch.calls() == 0);
        watch.update(readable);
        run_until([&] { return watch.calls() > 2; });
        watch.update(events);
        settle();
        BOOST_TEST(loop.comes_to_rest());
        watch.remove();
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
