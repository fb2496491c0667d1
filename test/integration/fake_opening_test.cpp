// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"

#include <support/eventually.hpp>
#include <support/gate.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

// The end of an attempt to open a stream whose opener has begun: the daemon has its call.

namespace {

/// A daemon that has not answered the opener yet when the attempt is cancelled.
struct opening_fixture : fake_fixture
{
    support::gate answer;
    support::fake_libvirtd daemon{[](auto&) {}};

    opening_fixture()
    {
        daemon.answer_keepalives();
        daemon.before_answer(daemon.domain_open_console, [wait = answer.entry()] { wait(); });
        outcome opened;
        conn.async_open(daemon.uri(), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        cancel_opener();
    }

    ~opening_fixture()
    {
        answer.open();
    }

    void cancel_opener()
    {
        asio::cancellation_signal signal;
        outcome opened;
        stream.async_open(
            conn, avirt::console{"vm"}, asio::bind_cancellation_slot(signal.slot(), opened.handler()));
        run_until([&] { return answer.arrived() == 1; });
        signal.emit(asio::cancellation_type::terminal);
        run_until_done(opened);
        BOOST_TEST(opened.ec() == asio::error::operation_aborted);
        BOOST_TEST(answer.passed() == 0);
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(fake_opening, opening_fixture)

// If it were cut off, libvirtd 9.0 might crash. The loop does not run until the daemon has the abort, so that
// the deadline for closing a connection does not expire on a slow machine.
BOOST_AUTO_TEST_CASE(an_opener_that_has_begun_is_not_cut_off)
{
    answer.open();
    BOOST_TEST(support::eventually([&] { return daemon.aborts() + daemon.losses() == 1; }));
    BOOST_TEST(daemon.aborts() == 1);
    outcome drained;
    conn.close();
    loop.async_drain(drained.handler());
    run_until_done(drained);
    BOOST_TEST(support::eventually([&] { return daemon.departures() == 2; }));
    BOOST_TEST(daemon.losses() == 0);
}

BOOST_AUTO_TEST_CASE(an_opener_that_is_never_answered_is_cut_off)
{
    outcome drained;
    conn.close();
    loop.async_drain(drained.handler());
    run_until_done(drained);
    BOOST_TEST(drained.ec() == error_code());
    BOOST_TEST(answer.passed() == 0);
    answer.open(); // The daemon looks at the socket again.
    BOOST_TEST(support::eventually([&] { return daemon.departures() == 2; }));
    BOOST_TEST(daemon.losses() == 1);
    BOOST_TEST(daemon.aborts() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
