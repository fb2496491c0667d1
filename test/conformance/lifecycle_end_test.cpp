// SPDX-License-Identifier: BSL-1.0

// Loops and contexts that end while watches and timeouts are registered, waiting to be freed, or being
// called.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>
#include <support/open_files.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace conformance {
namespace {

namespace asio = boost::asio;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

} // namespace

BOOST_AUTO_TEST_SUITE(
    lifecycle_end,
    *boost::unit_test::description("Loops and contexts that end while watches and timeouts are registered, "
                                   "waiting to be freed, or being called."))

BOOST_AUTO_TEST_CASE(the_context_may_be_destroyed_first)
{
    expect_success([] {
        const auto ends = make_pipe();
        probe watch;
        probe timer;
        auto io = std::make_unique<asio::io_context>();
        std::optional<avirt::event_loop> loop;
        loop.emplace(*io);
        watch.watch(ends.writer.get(), writable);
        timer.timer(0);
        while (watch.calls() == 0 || timer.calls() == 0)
            io->run_one();
        const int calls = watch.calls() + timer.calls();
        io.reset();
        watch.update(readable);
        expect(watch.remove() == 0 && timer.remove() == 0, "remove failed");
        expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "not freed");
        expect(watch.calls() + timer.calls() == calls, "called without a context");
        loop.reset();

        asio::io_context next;
        loop.emplace(next);
        probe again{[](probe& self) { self.remove(); }};
        again.timer(0);
        next.run();
        expect(again.calls() == 1 && again.frees() == 1, "the next loop does not work");
    });
}

BOOST_AUTO_TEST_CASE(the_context_may_be_destroyed_first_with_watches_and_timeouts_registered)
{
    expect_success([] {
        const auto ends = make_pipe();
        probe watch{[](probe& self) { self.remove(); }};
        probe timer{[](probe& self) { self.remove(); }};
        {
            std::optional<asio::io_context> io;
            io.emplace();
            const avirt::event_loop loop{*io};
            watch.watch(ends.writer.get(), writable);
            timer.timer(0);
            io.reset();
        }
        asio::io_context next;
        const avirt::event_loop loop{next};
        next.run();
        expect(watch.calls() == 1 && timer.calls() == 1, "not taken over");
        expect(watch.frees() == 1 && timer.frees() == 1, "not freed");
    });
}

BOOST_AUTO_TEST_CASE(free_callbacks_run_although_the_context_never_runs_again)
{
    for (const bool context_first : {false, true}) {
        expect_success([context_first] {
            const auto ends = make_pipe();
            probe watch;
            probe timer;
            std::optional<asio::io_context> io;
            io.emplace();
            std::optional<avirt::event_loop> loop;
            loop.emplace(*io);
            watch.watch(ends.writer.get(), writable);
            timer.timer(0);
            watch.remove();
            timer.remove();
            expect(watch.frees() == 0 && timer.frees() == 0, "freed inside remove");
            if (context_first)
                io.reset();
            loop.reset();
            io.reset();
            expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "not freed");
        });
    }
}

BOOST_AUTO_TEST_CASE(the_loop_may_be_destroyed_while_threads_run_its_context)
{
    expect_success([] {
        for (int round = 0; round < 20; ++round) {
            const auto ends = make_pipe();
            std::vector<std::unique_ptr<probe>> items;
            asio::io_context io;
            std::optional<avirt::event_loop> loop;
            loop.emplace(io);
            for (int i = 0; i < 10; ++i) {
                items.push_back(std::make_unique<probe>());
                i % 2 == 0 ? items.back()->watch(ends.writer.get(), writable) : items.back()->timer(i % 3);
            }
            std::vector<std::thread> threads;
            for (int i = 0; i < 4; ++i)
                threads.emplace_back([&] { io.run(); });
            expect_eventually(
                [&] { return items.front()->calls() > 5 && items.back()->calls() > 5; }, "not called");
            loop.reset();
            const auto all_calls = [&] {
                int sum = 0;
                for (const auto& item : items)
                    sum += item->calls();
                return sum;
            };
            // Destroying the loop does not wait for the one callback that may be running.
            const int calls = all_calls();
            for (auto& thread : threads)
                thread.join();
            expect(all_calls() <= calls + 1, "callbacks ran after the loop's end");
            for (const auto& item : items)
                item->remove();
            for (const auto& item : items)
                expect_eventually([&] { return item->frees() == 1; }, "not freed");
        }
    });
}

BOOST_AUTO_TEST_CASE(the_loop_may_be_destroyed_by_a_handler_of_its_context)
{
    expect_success([] {
        probe timer;
        asio::io_context io;
        std::optional<avirt::event_loop> loop;
        loop.emplace(io);
        timer.timer(0);
        asio::post(io, [&] { loop.reset(); });
        io.run();
        expect(!loop, "the handler did not run");
        timer.remove();
        expect_eventually([&] { return timer.frees() == 1; }, "not freed");
    });
}

BOOST_AUTO_TEST_CASE(a_stopped_context_serves_the_loop_after_a_restart)
{
    expect_success([] {
        probe timer{[](probe& self) { self.remove(); }};
        asio::io_context io;
        const avirt::event_loop loop{io};
        timer.timer(0);
        io.stop();
        io.run();
        expect(timer.calls() == 0, "called although stopped");
        io.restart();
        io.run();
        expect(timer.calls() == 1 && timer.frees() == 1, "not served after the restart");
    });
}

BOOST_AUTO_TEST_CASE(no_fd_is_left_open)
{
    expect_success([] {
        const auto ends = make_pipe();
        const auto one_life = [&](bool run) {
            asio::io_context io;
            const avirt::event_loop loop{io};
            probe watch;
            probe timer;
            watch.watch(ends.writer.get(), writable);
            timer.timer(1);
            if (run)
                run_until_called(io, watch, timer);
            watch.remove();
            timer.remove();
            if (run)
                io.run();
            else
                io.poll();
            expect(watch.frees() == 1 && timer.frees() == 1, "not freed");
        };
        one_life(true);
        const auto before = support::open_files();
        for (int i = 0; i < 10; ++i)
            one_life(i % 2 == 0);
        expect(support::open_files() == before, "an fd was left open");
    });
}

BOOST_AUTO_TEST_CASE(a_program_may_exit_with_everything_alive)
{
    for (const bool bound : {true, false}) {
        expect_success([bound] {
            static const auto ends = make_pipe();
            static probe watch;
            static probe timer;
            static probe removed;
            static asio::io_context io;
            static std::optional<avirt::event_loop> loop;
            loop.emplace(io);
            watch.watch(ends.writer.get(), writable);
            timer.timer(0);
            removed.timer(0);
            run_until_called(io, watch, timer);
            removed.remove();
            if (!bound)
                loop.reset();
        });
    }
}

BOOST_AUTO_TEST_CASE(a_program_may_exit_while_threads_run_its_context)
{
    expect_success([] {
        // Nothing of this is ever destroyed, as in a program that calls exit() below main().
        static auto* const io = new asio::io_context;
        static const auto* const loop = new avirt::event_loop{*io};
        static auto* const timer = new probe;
        timer->timer(0);
        for (int i = 0; i < 2; ++i)
            std::thread{[] { io->run(); }}.detach();
        expect_eventually([] { return timer->calls() > 100; }, "not called");
        expect(!loop->is_idle(), "idle");
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
