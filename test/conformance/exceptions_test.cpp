// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <stdexcept>

namespace conformance {
namespace {

struct expected_exception : std::runtime_error
{
    using runtime_error::runtime_error;
};

const not_asked is_in_c{"An exception would have to pass through libvirt's loop, which is written in C. "
                        "There is no C code between avirt's loop and run()"};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    exceptions, loop_fixture,
    *description("An exception of the application leaves run(), which may then be called again."))

BOOST_AUTO_TEST_CASE(an_exception_from_a_watch_leaves_run_and_the_loop_goes_on, *is_in_c)
{
    const auto ends = make_socket_pair();
    const auto other_ends = make_socket_pair();
    put(ends.peer.get(), "abc");
    put(other_ends.peer.get(), "abc");
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) {
        take(self.fd(), 1);
        if (self.calls() == 1)
            throw expected_exception{"from a watch"};
    });
    auto& other = add_watch(other_ends.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
    run_until([&] { return watch.calls() == 3 && other.calls() == 3; });
    watch.remove();
    run_until([&] { return watch.frees() == 1; });
}

BOOST_AUTO_TEST_CASE(an_exception_from_a_timeout_leaves_run_and_the_loop_goes_on, *is_in_c)
{
    for (const int interval : {0, 1}) {
        auto& timer = add_timer(interval, [](registration& self) {
            if (self.calls() % 2 == 1)
                throw expected_exception{"from a timeout"};
        });
        for (int i = 0; i < 3; ++i)
            BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
        BOOST_TEST(timer.calls() >= 5);
        timer.remove();
        run_until([&] { return timer.frees() == 1; });
    }
}

BOOST_AUTO_TEST_CASE(a_callback_may_throw_after_removing_itself, *is_in_c)
{
    auto& timer = add_timer(0, [](registration& self) {
        self.remove();
        throw expected_exception{"after removal"};
    });
    auto& other = add_timer(0);
    BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
    run_until([&] { return timer.frees() == 1; });
    const int before = other.calls();
    run_until([&] { return other.calls() > before; });
    BOOST_TEST(timer.calls() == 1);
}

BOOST_AUTO_TEST_CASE(each_of_many_exceptions_in_one_turn_leaves_run, *is_in_c)
{
    const auto ends = make_socket_pair();
    constexpr int count = 10;
    std::atomic<int> thrown{0};
    for (int i = 0; i < count; ++i)
        add_watch(ends.ours.get(), writable, [&](registration& self) {
            self.remove();
            ++thrown;
            throw expected_exception{"one of many"};
        });
    int runs = 0;
    for (; thrown < count; ++runs)
        BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
    settle();
    BOOST_TEST(thrown == count);
    // With several threads, exceptions may leave more than one of them before all are stopped.
    if (loop_threads() == 1)
        BOOST_TEST(runs == count);
}

BOOST_AUTO_TEST_CASE(an_exception_from_a_posted_handler_does_not_disturb_the_loop, *is_in_c)
{
    auto& timer = add_timer(0);
    loop.post([] { throw expected_exception{"from a handler"}; });
    BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
    const int before = timer.calls();
    run_until([&] { return timer.calls() > before + 5; });
}

BOOST_AUTO_TEST_CASE(an_exception_from_a_free_callback_leaves_run_and_the_others_still_run, *is_in_c)
{
    const auto ends = make_pipe();
    auto& timer = add_timer(-1);
    auto& watch = add_watch(ends.reader.get(), readable);
    auto& last = add_timer(-1);
    timer.on_free([] { throw expected_exception{"from a free callback"}; });
    for (auto* item : {&timer, &watch, &last})
        item->remove();
    BOOST_CHECK_THROW(run_until([] { return false; }), expected_exception);
    run_until([&] { return timer.frees() == 1 && watch.frees() == 1 && last.frees() == 1; });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
