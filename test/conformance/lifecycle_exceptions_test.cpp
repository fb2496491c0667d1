// SPDX-License-Identifier: BSL-1.0

// Exceptions that leave run(), and that neither a watch nor a timeout has thrown.
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <stdexcept>

namespace conformance {
namespace {

namespace asio = boost::asio;

struct expected_exception : std::runtime_error
{
    using runtime_error::runtime_error;
};

void expect_thrown_by_run(asio::io_context& io)
{
    try {
        io.run();
    }
    catch (const expected_exception&) {
        return;
    }
    expect(false, "nothing was thrown");
}

void expect_still_works(asio::io_context& io, const avirt::event_loop& loop)
{
    probe timer{[](probe& self) { self.remove(); }};
    io.restart();
    timer.timer(0);
    io.run();
    expect(timer.calls() == 1 && timer.frees() == 1, "not served");
    expect(loop.is_idle(), "not idle");
}

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_exceptions)

BOOST_AUTO_TEST_CASE(an_exception_from_a_free_callback_leaves_run_and_the_others_are_called)
{
    expect_success([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        probe before;
        probe throwing;
        probe after;
        bool has_thrown = false;
        throwing.when_freed([&] {
            has_thrown = true;
            throw expected_exception{"from a free callback"};
        });
        for (auto* item : {&before, &throwing, &after}) {
            item->timer(-1);
            item->remove();
        }
        expect_thrown_by_run(io);
        expect(before.frees() == 1 && has_thrown && after.frees() == 0, "not called in order");
        io.run();
        expect(after.frees() == 1 && throwing.frees() == 0, "not called once each");
        expect(loop.stats().pending_frees == 0, "free callbacks are still pending");
        expect_still_works(io, loop);
    });
}

BOOST_AUTO_TEST_CASE(an_exception_from_a_drain_handler_leaves_run_and_the_other_drains_complete)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        int completed = 0;
        for (int i = 0; i < 3; ++i)
            loop.async_drain([&](avirt::error_code) {
                ++completed;
                throw expected_exception{"from a drain"};
            });
        for (int i = 1; i <= 3; ++i) {
            expect_thrown_by_run(io);
            expect(completed == i, "not completed one by one");
        }
        io.run();
        expect_still_works(io, loop);
    });
}

BOOST_AUTO_TEST_CASE(an_exception_from_the_handler_of_a_slow_callback_report_leaves_run)
{
    expect_success([] {
        avirt::event_loop_options options;
        options.slow_callback = std::chrono::nanoseconds{1};
        int reports = 0;
        options.on_slow_callback = [&](const avirt::slow_callback_report&) {
            if (++reports == 1)
                throw expected_exception{"from a report"};
        };
        asio::io_context io;
        const avirt::event_loop loop{io, options};
        probe timer{[](probe& self) {
            const auto start = std::chrono::steady_clock::now();
            while (std::chrono::steady_clock::now() == start)
                continue;
            if (self.calls() == 2)
                self.remove();
        }};
        timer.timer(0);
        expect_thrown_by_run(io);
        expect(timer.calls() == 1, "called again");
        io.run();
        expect(timer.calls() == 2 && timer.frees() == 1 && reports == 2, "the loop did not go on");
        expect_still_works(io, loop);
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
