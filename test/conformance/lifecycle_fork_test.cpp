// SPDX-License-Identifier: BSL-1.0

// Children that are forked in every state of the parent's loop, and that exit, exec, or continue with a loop
// of their own.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_fork.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/connection.hpp>
#include <avirt/event_loop.hpp>

#include <support/gate.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <optional>

namespace conformance {
namespace {

constexpr int readable = VIR_EVENT_HANDLE_READABLE;

/// A state in which the parent's loop forks.
struct state
{
    void (*prepare)(watched_pipe&, probe& extra);
    int frees; // how often `extra` has been freed at the end
};

const state states[] = {
    // The loop has never run.
    {[](watched_pipe& p, probe&) { p.add(); }, 0},
    // The loop is asleep.
    {[](watched_pipe& p, probe&) { p.add(), p.expect_works(), p.come_to_rest(); }, 0},
    // The loop is asleep until a timeout that is due soon.
    {[](watched_pipe& p, probe& extra) { p.add(), extra.timer(1), p.come_to_rest(); }, 1},
    // The loop's next turn is posted.
    {[](watched_pipe& p, probe& extra) { p.add(), extra.timer(0), p.io.run_one(), p.io.run_one(); }, 1},
    // The loop was asleep, and a removal has woken it.
    {[](watched_pipe& p, probe& extra) { p.add(), extra.timer(-1), p.come_to_rest(), extra.remove(); }, 1},
};

/// Runs `scene` in every state, each in a process of its own.
void in_every_state(void (*scene)(watched_pipe&))
{
    for (const auto& s : states)
        expect_success([&] {
            watched_pipe parent;
            probe extra;
            s.prepare(parent, extra);
            scene(parent);
            extra.remove();
            parent.finish();
            expect(extra.frees() == s.frees, "not freed once");
        });
}

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_fork)

BOOST_AUTO_TEST_CASE(a_child_that_exits_or_execs_changes_nothing)
{
    in_every_state([](watched_pipe& parent) {
        parent.expect_child_changes_nothing(fork_child([] {}), 0);
        parent.expect_child_changes_nothing(fork_child(execute), 7);
        const auto remove = [&] { parent.watch.remove(), parent.sleeping.remove(); };
        parent.expect_child_changes_nothing(fork_child(remove), 0);
    });
}

BOOST_AUTO_TEST_CASE(a_child_that_calls_notify_fork_has_a_loop_of_its_own)
{
    in_every_state([](watched_pipe& parent) {
        parent.io.notify_fork(asio::execution_context::fork_prepare);
        const auto pid = fork_child([&] {
            parent.io.notify_fork(asio::execution_context::fork_child);
            parent.expect_works();
            parent.watch.remove();
            expect(!in_an_epoll_set(parent.ends.reader.get()), "the child still watches the pipe");
            parent.watch.watch(parent.ends.reader.get(), readable);
            parent.expect_works();
        });
        parent.io.notify_fork(asio::execution_context::fork_parent);
        parent.expect_child_changes_nothing(pid, 0);
    });
}

BOOST_AUTO_TEST_CASE(a_child_of_an_unused_loop_has_a_loop_of_its_own)
{
    expect_success([] {
        watched_pipe parent;
        parent.io.notify_fork(asio::execution_context::fork_prepare);
        const auto pid = fork_child([&] {
            parent.io.notify_fork(asio::execution_context::fork_child);
            parent.io.run();
            parent.io.restart();
            parent.add();
            parent.expect_works();
            parent.finish();
        });
        parent.io.notify_fork(asio::execution_context::fork_parent);
        parent.add();
        parent.expect_child_changes_nothing(pid, 0);
        parent.finish();
    });
}

BOOST_AUTO_TEST_CASE(a_child_that_destroys_its_loop_changes_nothing)
{
    expect_success([] {
        std::optional<watched_pipe> parent;
        parent.emplace();
        parent->add();
        parent->expect_works();
        parent->io.notify_fork(asio::execution_context::fork_prepare);
        const auto pid = fork_child([&] {
            parent->io.notify_fork(asio::execution_context::fork_child);
            parent->finish();
            parent.reset();
            watched_pipe again;
            again.add();
            again.expect_works();
            again.finish();
        });
        parent->io.notify_fork(asio::execution_context::fork_parent);
        parent->expect_child_changes_nothing(pid, 0);
        parent->finish();
    });
}

BOOST_AUTO_TEST_CASE(a_child_forked_while_no_loop_is_bound_can_bind_one)
{
    expect_success([] {
        watched_pipe parent;
        parent.add();
        parent.expect_works();
        parent.loop.reset();
        const auto pid = fork_child([&] {
            asio::io_context io;
            const avirt::event_loop loop{io};
            expect(loop.stats().watches == 1 && loop.stats().timeouts == 1, "not taken over");
            parent.expect_works(io);
            parent.finish(io);
        });
        expect(wait_for(pid) == 0, "the child failed");
        expect(wait_for(fork_child([] {})) == 0, "the second child failed");
        expect(wait_for(fork_child(execute)) == 7, "the program failed");
        expect(in_an_epoll_set(parent.ends.reader.get()), "the parent no longer watches the pipe");
        parent.loop.emplace(parent.io);
        parent.io.restart();
        parent.expect_works();
        parent.finish();
    });
}

BOOST_AUTO_TEST_CASE(a_child_does_not_wait_for_its_parents_free_callback)
{
    expect_success([] {
        watched_pipe parent;
        parent.add();
        probe removed;
        support::gate gate;
        removed.when_freed(gate.entry());
        removed.timer(-1);
        parent.loop.reset();
        removed.remove();
        expect_eventually([&] { return gate.arrived() == 1; }, "not freed");
        const auto pid = fork_child([&] {
            asio::io_context io;
            const avirt::event_loop loop{io};
            parent.expect_works(io);
            parent.finish(io);
            expect(loop.is_idle(), "the child waits for one of its parent's threads");
        });
        expect(wait_for(pid) == 0, "the child failed");
        expect(in_an_epoll_set(parent.ends.reader.get()), "the parent no longer watches the pipe");
        gate.open();
        expect_eventually([&] { return removed.frees() == 1; }, "not freed");
        parent.loop.emplace(parent.io);
        parent.expect_works();
        parent.finish();
    });
}

BOOST_AUTO_TEST_CASE(a_child_does_not_wait_for_the_calls_of_its_parents_threads)
{
    expect_success([] {
        watched_pipe parent;
        asio::io_context callers;
        avirt::connection conn{callers};
        conn.async_open("test:///default", [](avirt::error_code ec) { expect(!ec, "not opened"); });
        callers.run();
        callers.restart();
        support::gate gate;
        conn.async_call(gate.entry(), [](avirt::error_code ec, int) { expect(!ec, "the call failed"); });
        expect_eventually([&] { return gate.arrived() == 1; }, "not called");
        bool drained = false;
        parent.loop->async_drain([&](avirt::error_code ec) { drained = !ec; });
        parent.come_to_rest();
        expect(!drained, "the parent does not wait for its call");
        parent.io.notify_fork(asio::execution_context::fork_prepare);
        const auto pid = fork_child([&] {
            parent.io.notify_fork(asio::execution_context::fork_child);
            parent.io.run();
            expect(drained, "not drained");
            parent.io.restart();
            parent.add();
            parent.expect_works();
            parent.finish();
            expect(parent.loop->is_idle(), "not idle");
            expect(parent.loop->stats().running_calls == 0, "the parent's calls are counted");
        });
        parent.io.notify_fork(asio::execution_context::fork_parent);
        expect(wait_for(pid) == 0, "the child failed");
        expect(parent.loop->stats().running_calls == 1, "the parent lost its call");
        gate.open();
        callers.run();
        conn.close();
        parent.io.run();
        expect(drained, "not drained");
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
