// SPDX-License-Identifier: BSL-1.0

// When run() returns, when a drain completes, and what the loop reports about itself.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

namespace conformance {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

} // namespace

BOOST_AUTO_TEST_SUITE(
    lifecycle_drain,
    *boost::unit_test::description(
        "When run() returns, when a drain completes, and what the loop reports about itself."))

BOOST_AUTO_TEST_CASE(run_returns_when_nothing_is_registered)
{
    expect_success([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        io.run();
        expect(loop.is_idle(), "not idle");
    });
}

BOOST_AUTO_TEST_CASE(run_returns_after_the_last_free_callback)
{
    expect_success([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        for (int round = 0; round < 3; ++round) {
            const auto ends = make_pipe();
            probe watch{[](probe& self) { self.remove(); }};
            probe timer{[](probe& self) {
                if (self.calls() == 3)
                    self.remove();
            }};
            watch.watch(ends.writer.get(), writable);
            timer.timer(1);
            expect(!loop.is_idle(), "idle");
            io.run();
            expect(watch.calls() == 1 && timer.calls() == 3, "not served");
            expect(watch.frees() == 1 && timer.frees() == 1, "run() returned too early");
            expect(loop.is_idle(), "not idle");
            io.restart();
        }
    });
}

BOOST_AUTO_TEST_CASE(disabled_watches_and_timeouts_keep_run_from_returning)
{
    expect_success([] {
        const auto ends = make_pipe();
        asio::io_context io;
        const avirt::event_loop loop{io};
        probe watch;
        probe timer;
        watch.watch(ends.writer.get(), 0);
        for (int i = 0; i < 100; ++i)
            io.poll();
        expect(!io.stopped(), "run() would return with a watch registered");
        timer.timer(-1);
        watch.remove();
        for (int i = 0; i < 100; ++i)
            io.poll();
        expect(!io.stopped(), "run() would return with a timeout registered");
        timer.remove();
        io.run();
        expect(watch.frees() == 1 && timer.frees() == 1, "not freed");
    });
}

BOOST_AUTO_TEST_CASE(the_first_registration_may_come_from_another_thread)
{
    expect_success([] {
        for (const bool before_run : {true, false}) {
            asio::io_context io;
            const avirt::event_loop loop{io};
            auto guard = asio::make_work_guard(io);
            probe timer{[](probe& self) { self.remove(); }};
            std::atomic<bool> running{before_run};
            asio::post(io, [&] { running = true; });
            std::thread other{[&] {
                expect_eventually([&] { return running.load(); }, "run() does not run");
                timer.timer(0);
                guard.reset();
            }};
            if (before_run)
                other.join();
            io.run();
            if (!before_run)
                other.join();
            expect(timer.calls() == 1 && timer.frees() == 1, "not served");
        }
    });
}

BOOST_AUTO_TEST_CASE(a_drain_of_an_idle_loop_completes_but_not_at_once)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        std::optional<avirt::error_code> result;
        loop.async_drain([&](avirt::error_code ec) { result = ec; });
        expect(!result, "completed inside the initiating function");
        io.run();
        expect(result && !*result, "did not complete with success");
    });
}

BOOST_AUTO_TEST_CASE(drains_complete_when_everything_is_freed)
{
    expect_success([] {
        const auto ends = make_pipe();
        asio::io_context io;
        avirt::event_loop loop{io};
        probe watch;
        probe timer;
        watch.watch(ends.reader.get(), readable);
        timer.timer(-1);
        int completed = 0;
        for (int i = 0; i < 3; ++i)
            loop.async_drain([&](avirt::error_code ec) {
                expect(!ec, "failed");
                expect(watch.frees() == 1 && timer.frees() == 1, "completed too early");
                ++completed;
            });
        for (int i = 0; i < 100; ++i)
            io.poll();
        expect(completed == 0, "completed with something registered");
        watch.remove();
        for (int i = 0; i < 100; ++i)
            io.poll();
        expect(completed == 0, "completed with a timeout registered");
        timer.remove();
        io.run();
        expect(completed == 3, "not all completed");
    });
}

BOOST_AUTO_TEST_CASE(a_drain_waits_for_pending_free_callbacks)
{
    expect_success([] {
        const auto ends = make_pipe();
        asio::io_context io;
        avirt::event_loop loop{io};
        probe watch;
        watch.watch(ends.reader.get(), readable);
        io.poll();
        watch.remove();
        expect(!loop.is_idle(), "idle with a free callback pending");
        bool completed = false;
        loop.async_drain([&](avirt::error_code ec) {
            expect(!ec, "failed");
            expect(watch.frees() == 1, "completed too early");
            completed = true;
        });
        io.run();
        expect(completed, "not completed");
        expect(loop.is_idle(), "not idle");
    });
}

BOOST_AUTO_TEST_CASE(a_drain_may_be_waited_for_on_another_thread)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        probe timer{[](probe& self) {
            if (self.calls() == 5)
                self.remove();
        }};
        timer.timer(0);
        auto drained = loop.async_drain(asio::use_future);
        std::thread runner{[&] { io.run(); }};
        drained.get();
        expect(timer.frees() == 1, "completed too early");
        runner.join();
    });
}

BOOST_AUTO_TEST_CASE(a_drain_can_be_cancelled)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        probe timer;
        timer.timer(-1);
        asio::cancellation_signal signal;
        std::optional<avirt::error_code> result;
        loop.async_drain(
            asio::bind_cancellation_slot(signal.slot(), [&](avirt::error_code ec) { result = ec; }));
        io.poll();
        signal.emit(asio::cancellation_type::total);
        while (!result)
            io.run_one();
        expect(*result == asio::error::operation_aborted, "completed with another error");
        timer.remove();
        io.run();
        expect(timer.frees() == 1, "not freed");
    });
}

BOOST_AUTO_TEST_CASE(a_drain_ends_with_its_loop_or_its_context)
{
    expect_success([] {
        const auto alive = std::make_shared<int>(0);
        probe timer;
        {
            asio::io_context io;
            std::optional<avirt::event_loop> loop;
            loop.emplace(io);
            timer.timer(-1);
            std::optional<avirt::error_code> result;
            loop->async_drain([&, alive](avirt::error_code ec) { result = ec; });
            loop.reset();
            io.run();
            expect(result && *result == asio::error::operation_aborted, "not aborted with its loop");
            expect(alive.use_count() == 1, "the handler was kept");
        }
        {
            std::optional<asio::io_context> io;
            io.emplace();
            avirt::event_loop loop{*io};
            loop.async_drain([alive](avirt::error_code) { expect(false, "called without a context"); });
            io.reset();
            expect(alive.use_count() == 1, "the handler outlived its context");
        }
        timer.remove();
        expect_eventually([&] { return timer.frees() == 1; }, "not freed");
    });
}

BOOST_AUTO_TEST_CASE(stats_count_registrations_and_dispatched_callbacks)
{
    expect_success([] {
        const auto ends = make_pipe();
        asio::io_context io;
        const avirt::event_loop loop{io};
        probe watch{[](probe& self) { self.update(0); }};
        probe slow{[](probe& self) {
            const auto until = std::chrono::steady_clock::now() + 3ms;
            while (std::chrono::steady_clock::now() < until)
                continue;
            self.update(-1);
        }};
        expect(loop.stats().watches == 0 && loop.stats().timeouts == 0, "not empty");
        const auto dispatched = loop.stats().dispatched;
        watch.watch(ends.writer.get(), writable);
        slow.timer(0);
        expect(loop.stats().watches == 1 && loop.stats().timeouts == 1, "not counted");
        run_until_called(io, watch, slow);
        expect(loop.stats().dispatched == dispatched + 2, "dispatches not counted");
        expect(loop.stats().longest_callback >= 3ms, "the slow callback was not measured");
        watch.remove();
        slow.remove();
        expect(loop.stats().watches == 0 && loop.stats().timeouts == 0, "still counted");
        expect(loop.stats().pending_frees == 2, "pending free callbacks not counted");
        io.run();
        expect(loop.stats().pending_frees == 0, "still pending");
        expect(loop.stats().dispatched == dispatched + 2, "free callbacks counted");
    });
}

BOOST_AUTO_TEST_CASE(a_slow_free_callback_is_not_reported_as_another_callback)
{
    expect_success([] {
        int reports = 0;
        avirt::event_loop_options options;
        options.slow_callback = 10ms;
        options.on_slow_callback = [&](const avirt::slow_callback_report&) { ++reports; };
        asio::io_context io;
        const avirt::event_loop loop{io, options};
        probe timer{[](probe& self) {
            if (self.calls() == 100)
                self.remove();
        }};
        probe slow{[](probe& self) { self.remove(); }};
        slow.when_freed([] {
            const auto until = std::chrono::steady_clock::now() + 20ms;
            while (std::chrono::steady_clock::now() < until)
                continue;
        });
        timer.timer(0);
        slow.timer(0);
        io.run();
        expect(timer.calls() == 100 && slow.frees() == 1, "not served");
        expect(reports == 0, "a callback was reported");
    });
}

BOOST_AUTO_TEST_CASE(slow_callbacks_are_reported)
{
    expect_success([] {
        const auto ends = make_pipe();
        const auto take_time = [](probe& self) {
            const auto until = std::chrono::steady_clock::now() + 20ms;
            while (std::chrono::steady_clock::now() < until)
                continue;
            self.remove();
        };
        for (const auto limit : {std::chrono::nanoseconds{10ms}, std::chrono::nanoseconds{1h}}) {
            std::vector<avirt::slow_callback_report> reports;
            avirt::event_loop_options options;
            options.slow_callback = limit;
            options.on_slow_callback = [&](const avirt::slow_callback_report& r) { reports.push_back(r); };
            asio::io_context io;
            const avirt::event_loop loop{io, options};
            probe watch{take_time};
            probe timer{take_time};
            watch.watch(ends.writer.get(), writable);
            timer.timer(0);
            io.run();
            if (limit == 1h) {
                expect(reports.empty(), "a fast callback was reported");
                continue;
            }
            expect(reports.size() == 2, "not reported once each");
            for (const auto& report : reports) {
                expect(report.took >= 20ms, "the reported time is too short");
                expect(report.id == (report.is_timeout ? timer : watch).id(), "the report has another id");
                expect(report.is_timeout || report.fd == ends.writer.get(), "the report has another fd");
            }
            expect(reports[0].is_timeout != reports[1].is_timeout, "one was reported twice");
        }
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
