// SPDX-License-Identifier: BSL-1.0

// Drains under load.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <future>
#include <optional>
#include <vector>

namespace conformance {
namespace {

namespace asio = boost::asio;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

/// A context with a loop, run by threads of its own.
class running_loop
{
public:
    explicit running_loop(int threads)
    {
        for (int i = 0; i < threads; ++i)
            threads_.emplace_back([this] { io_.run(); });
    }

    ~running_loop()
    {
        work_.reset();
        for (auto& t : threads_)
            t.join();
    }

private:
    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    std::vector<std::thread> threads_;

public:
    avirt::event_loop loop{io_};
};

/// Calls body(index) on eight threads, and returns when all have returned.
template <class Body>
void on_eight_threads(Body body)
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&body, i] { body(i); });
    for (auto& t : threads)
        t.join();
}

void expect_no_error(avirt::error_code ec)
{
    expect(!ec, "the drain failed");
}

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_load)

BOOST_AUTO_TEST_CASE(a_drain_waits_for_what_its_thread_has_added_before)
{
    expect_success([] {
        for (const int threads : {1, 4}) {
            running_loop running{threads};
            on_eight_threads([&](int index) {
                const auto ends = make_pipe();
                for (int round = 0; round < 300; ++round) {
                    probe item;
                    index % 2 == 0 ? item.watch(ends.writer.get(), 0) : item.timer(-1);
                    std::promise<void> promise;
                    auto drained = promise.get_future();
                    running.loop.async_drain([&, promise = std::move(promise)](avirt::error_code ec) mutable {
                        expect_no_error(ec);
                        expect(item.frees() == 1, "completed too early");
                        promise.set_value();
                    });
                    item.remove();
                    drained.get();
                }
            });
        }
    });
}

BOOST_AUTO_TEST_CASE(a_drain_completes_when_eight_threads_have_stopped_adding_and_removing)
{
    expect_success([] {
        running_loop running{2};
        std::atomic<int> alive{0};
        probe held;
        held.timer(-1);
        auto drained = running.loop.async_drain(asio::use_future);
        on_eight_threads([&](int index) {
            const auto ends = make_socket_pair();
            put(ends.peer.get(), "x");
            for (int round = 0; round < 200; ++round) {
                probe watch;
                probe timer;
                alive += 2;
                watch.when_freed([&] { --alive; });
                timer.when_freed([&] { --alive; });
                expect(watch.watch(ends.ours.get(), index % 2 == 0 ? readable : writable) > 0, "not added");
                expect(timer.timer(index % 3 - 1) > 0, "not added");
                watch.update(readable | writable);
                timer.update(0);
                watch.remove();
                timer.remove();
                expect_eventually([&] { return watch.frees() == 1 && timer.frees() == 1; }, "not freed");
            }
        });
        expect(
            drained.wait_for(std::chrono::seconds{0}) == std::future_status::timeout, "completed too early");
        held.remove();
        drained.get();
        expect(held.frees() == 1 && alive == 0, "completed too early");
        expect(running.loop.is_idle(), "not idle");
    });
}

BOOST_AUTO_TEST_CASE(a_drain_waits_for_a_timeout_that_is_always_due)
{
    expect_success([] {
        for (const bool is_cancelled : {false, true}) {
            asio::io_context io;
            avirt::event_loop loop{io};
            asio::cancellation_signal signal;
            std::optional<avirt::error_code> result;
            probe timer{[&](probe& self) {
                expect(!result, "completed with a timeout registered");
                if (self.calls() < 1000)
                    return;
                if (is_cancelled)
                    signal.emit(asio::cancellation_type::terminal);
                self.remove();
            }};
            timer.timer(0);
            loop.async_drain(
                asio::bind_cancellation_slot(signal.slot(), [&](avirt::error_code ec) { result = ec; }));
            io.run();
            expect(timer.frees() == 1, "not freed");
            expect(result.has_value(), "not completed");
            expect(
                (*result == asio::error::operation_aborted) == is_cancelled, "completed with another result");
        }
    });
}

BOOST_AUTO_TEST_CASE(a_drain_cancelled_by_the_last_free_callback_is_aborted)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        asio::cancellation_signal signal;
        std::optional<avirt::error_code> cancelled;
        std::optional<avirt::error_code> drained;
        probe timer{[](probe& self) { self.remove(); }};
        timer.when_freed([&] {
            expect(!cancelled && !drained, "completed with a free callback under way");
            signal.emit(asio::cancellation_type::total);
        });
        timer.timer(0);
        loop.async_drain(
            asio::bind_cancellation_slot(signal.slot(), [&](avirt::error_code ec) { cancelled = ec; }));
        loop.async_drain([&](avirt::error_code ec) { drained = ec; });
        io.run();
        expect(cancelled && *cancelled == asio::error::operation_aborted, "not aborted");
        expect(drained && !*drained, "the other drain did not succeed");
        signal.emit(asio::cancellation_type::total); // There is nothing left to cancel.
    });
}

BOOST_AUTO_TEST_CASE(a_drain_started_by_the_last_free_callback_or_by_another_drain_succeeds)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop loop{io};
        int completed = 0;
        probe timer{[](probe& self) { self.remove(); }};
        timer.when_freed([&] {
            loop.async_drain([&](avirt::error_code ec) {
                expect_no_error(ec);
                expect(timer.frees() == 1, "completed inside the free callback");
                ++completed;
                loop.async_drain([&](avirt::error_code e) {
                    expect_no_error(e);
                    ++completed;
                });
            });
        });
        timer.timer(0);
        io.run();
        expect(completed == 2, "one of the drains did not complete");
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
