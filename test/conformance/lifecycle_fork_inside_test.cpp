// SPDX-License-Identifier: BSL-1.0

// Children that are forked inside a callback, or while other threads run the loop and use it.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_fork.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <optional>
#include <vector>

namespace conformance {
namespace {

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_fork_inside)

BOOST_AUTO_TEST_CASE(a_callback_may_fork_a_child_that_exits_or_execs)
{
    expect_success([] {
        watched_pipe parent;
        parent.add();
        parent.expect_works();
        const auto fork_both = [] {
            expect(wait_for(fork_child([] {})) == 0, "the child failed");
            expect(wait_for(fork_child(execute)) == 7, "the program failed");
        };
        const auto ends = make_pipe();
        probe watch{[&](probe& self) { fork_both(), self.remove(); }};
        probe timer{[&](probe& self) { fork_both(), self.remove(); }};
        watch.when_freed(fork_both);
        watch.watch(ends.writer.get(), writable);
        timer.timer(0);
        while (watch.frees() == 0 || timer.frees() == 0)
            parent.io.run_one();
        expect(watch.calls() == 1 && timer.calls() == 1, "called again");
        expect(in_an_epoll_set(parent.ends.reader.get()), "the parent no longer watches the pipe");
        parent.expect_works();
        parent.finish();
    });
}

BOOST_AUTO_TEST_CASE(a_callback_may_fork_a_child_that_continues_with_a_loop_of_its_own)
{
    for (const int where : {0, 1, 2}) // a watch's callback, a timeout's, a free callback
        expect_success([where] {
            watched_pipe parent;
            parent.add();
            parent.expect_works();
            int pid = -1;
            const auto fork_here = [&] {
                parent.io.notify_fork(asio::execution_context::fork_prepare);
                pid = ::fork();
                if (pid == 0)
                    ::alarm(60);
                parent.io.notify_fork(
                    pid == 0 ? asio::execution_context::fork_child : asio::execution_context::fork_parent);
            };
            const auto ends = make_pipe();
            probe one{[&](probe& self) {
                if (where != 2)
                    fork_here();
                self.remove();
            }};
            if (where == 2)
                one.when_freed(fork_here);
            where == 0 ? one.watch(ends.writer.get(), writable) : one.timer(0);
            while (one.frees() == 0)
                parent.io.run_one();
            expect(one.calls() == 1 && one.frees() == 1, "not called and freed once");
            if (pid == 0) {
                parent.expect_works();
                parent.finish();
                ::_exit(0);
            }
            parent.expect_child_changes_nothing(pid, 0);
            parent.finish();
        });
}

BOOST_AUTO_TEST_CASE(a_busy_program_may_fork_children)
{
    expect_success([] {
        std::atomic<bool> stop{false};
        std::atomic<int> added{0};
        asio::io_context io;
        std::optional<avirt::event_loop> loop{std::in_place, io};
        probe busy;
        busy.timer(0);
        std::vector<std::thread> runners;
        for (int i = 0; i < 2; ++i)
            runners.emplace_back([&] { io.run(); });
        std::vector<std::thread> users;
        for (int i = 0; i < 4; ++i)
            users.emplace_back([&, i] {
                const auto ends = make_pipe();
                while (!stop) {
                    probe item;
                    i % 2 == 0 ? item.watch(ends.writer.get(), writable) : item.timer(i % 3);
                    item.update(i % 2 == 0 ? readable : 1);
                    item.remove();
                    expect_eventually([&] { return item.frees() == 1; }, "not freed");
                    ++added;
                }
            });
        for (int i = 0; i < 100; ++i) {
            const int before = added;
            const int pid = i % 2 == 0 ? fork_child([] {}) : fork_child(execute);
            expect(wait_for(pid) == (i % 2 == 0 ? 0 : 7), "the child failed");
            expect_eventually([&] { return added > before; }, "the parent's loop has stopped");
        }
        stop = true;
        for (auto& user : users)
            user.join();
        busy.remove(); // Until now it has kept run() from returning.
        for (auto& runner : runners)
            runner.join();
        expect(busy.frees() == 1, "not freed");
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
