// SPDX-License-Identifier: BSL-1.0
#include "host/console_attempts.hpp"

#include <avirt/error.hpp>
#include <support/printing.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <chrono>

using namespace std::chrono_literals;

namespace {

using avirt::console_state;
using avirt::error_code;
using avirt::detail::console_attempts;
using avirt::detail::console_run_opener;
using avirt::detail::failure;
using clock_type = console_attempts::clock;

constexpr int no_run = console_run_opener::no_run;
constexpr int run = 7;

struct attempts_fixture
{
    console_attempts attempts{false};
    clock_type::time_point now = clock_type::now();

    /// Begins an attempt, which succeeds, and ends at once.
    void lose(console_state state, const failure& why = error_code(boost::asio::error::eof))
    {
        attempts.begin(now);
        attempts.opened(run, true);
        attempts.ended(why, state, now);
    }

    /// The same, after a while.
    void lose_after(clock_type::duration time)
    {
        attempts.begin(now);
        attempts.opened(run, true);
        attempts.was_open_for(time);
        attempts.ended(error_code(boost::asio::error::eof), console_state::off, now);
    }

    /// Begins an attempt, which fails.
    void fail(
        console_state state = console_state::unavailable,
        const failure& why = error_code(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category()))
    {
        attempts.begin(now);
        attempts.opened(no_run, false);
        attempts.ended(why, state, now);
    }
};

const failure not_supported(error_code(VIR_ERR_NO_SUPPORT, avirt::libvirt_category()));

} // namespace

BOOST_FIXTURE_TEST_SUITE(console_attempts_, attempts_fixture)

BOOST_AUTO_TEST_CASE(the_first_attempt_is_made_at_once)
{
    BOOST_TEST((attempts.next() <= now));
    BOOST_TEST(!attempts.is_given_up());
    BOOST_TEST(!attempts.is_retry());
    const auto attempt = attempts.begin(now);
    BOOST_TEST(!attempt.forces);
    BOOST_TEST(attempt.ended_run == no_run);
}

BOOST_AUTO_TEST_CASE(the_delay_grows_up_to_its_limit_and_begins_anew_with_the_guest)
{
    auto least = 100ms;
    for (int i = 0; i < 10; ++i) {
        fail();
        BOOST_TEST((attempts.next() >= now + least));
        BOOST_TEST((attempts.next() <= now + 10s));
        now = attempts.next();
        least = std::min(least * 2, 10'000ms);
    }
    attempts.guest_started(false);
    BOOST_TEST((attempts.next() <= now));
    fail();
    BOOST_TEST((attempts.next() < now + 200ms));
}

BOOST_AUTO_TEST_CASE(a_console_that_has_worked_is_opened_again_soon)
{
    for (int i = 0; i < 10; ++i)
        fail();
    lose_after(1001ms);
    BOOST_TEST((attempts.next() < now + 200ms));
    for (int i = 0; i < 10; ++i)
        fail();
    lose_after(999ms);
    BOOST_TEST((attempts.next() == now + 10s));
}

BOOST_AUTO_TEST_CASE(what_can_only_fail_again_is_given_up_until_something_happens)
{
    fail(console_state::unavailable, not_supported);
    BOOST_TEST(attempts.is_given_up());
    attempts.guest_started(false);
    BOOST_TEST(!attempts.is_given_up());
    fail(console_state::unavailable, not_supported);
    attempts.take_over();
    BOOST_TEST(!attempts.is_given_up());
    fail(console_state::unavailable, not_supported);
    attempts.not_needed();
    BOOST_TEST(!attempts.is_given_up());
}

BOOST_AUTO_TEST_CASE(what_is_not_needed_keeps_its_delay)
{
    fail();
    const auto next = attempts.next();
    attempts.not_needed();
    BOOST_TEST((attempts.next() == next));
}

BOOST_AUTO_TEST_CASE(a_guest_that_starts_during_an_attempt_is_tried_at_once)
{
    attempts.begin(now);
    attempts.guest_started(false);
    attempts.opened(no_run, false);
    attempts.ended(not_supported, console_state::unavailable, now);
    BOOST_TEST((attempts.next() <= now));
}

BOOST_AUTO_TEST_CASE(a_failure_that_is_repeated_is_no_news)
{
    fail();
    BOOST_TEST(attempts.is_retry());
    fail(console_state::opening);
    BOOST_TEST(!attempts.is_retry()); // The connection was lost.
    fail();
    attempts.cancelled();
    BOOST_TEST(!attempts.is_retry());
    fail();
    attempts.guest_started(false);
    BOOST_TEST(!attempts.is_retry());
}

BOOST_AUTO_TEST_CASE(a_takeover_happens_once)
{
    attempts.take_over();
    BOOST_TEST(attempts.begin(now).forces);
    BOOST_TEST(!attempts.begin(now).forces);
    attempts.take_over();
    attempts.guest_is_off();
    BOOST_TEST(!attempts.begin(now).forces);
}

BOOST_AUTO_TEST_CASE(a_takeover_that_is_asked_for_during_an_attempt)
{
    attempts.begin(now);
    attempts.take_over();
    attempts.opened(no_run, false);
    attempts.ended(not_supported, console_state::unavailable, now);
    BOOST_TEST((attempts.next() <= now));
    attempts.begin(now);
    attempts.take_over();
    attempts.opened(run, true); // It has the console.
    BOOST_TEST(!attempts.begin(now).forces);
}

BOOST_AUTO_TEST_CASE(a_console_that_was_taken_away_is_not_taken_back)
{
    console_attempts forcing{true};
    BOOST_TEST(forcing.begin(now).forces);
    forcing.opened(run, true);
    forcing.ended(error_code(boost::asio::error::eof), console_state::taken_over, now);
    BOOST_TEST(!forcing.begin(now).forces);
    forcing.guest_started(true); // The other one may still have it.
    BOOST_TEST(!forcing.begin(now).forces);
    forcing.guest_started(false);
    BOOST_TEST(forcing.begin(now).forces);
}

BOOST_AUTO_TEST_CASE(a_run_whose_console_has_ended_is_refused_for_a_while)
{
    lose(console_state::off);
    BOOST_TEST(attempts.begin(now).ended_run == run);
    BOOST_TEST(attempts.begin(now + 10s).ended_run == run);
    BOOST_TEST(attempts.begin(now + 10'001ms).ended_run == no_run);
    lose(console_state::off);
    attempts.host_came_back(); // It is the daemon that had ended.
    BOOST_TEST(attempts.begin(now).ended_run == no_run);
    lose(console_state::opening);
    BOOST_TEST(attempts.begin(now).ended_run == no_run);
}

BOOST_AUTO_TEST_SUITE_END()
