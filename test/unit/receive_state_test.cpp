// SPDX-License-Identifier: BSL-1.0
#include "stream/receive_state.hpp"

#include <avirt/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <ostream>

namespace avirt::detail {

static std::ostream& operator<<(std::ostream& out, receive_state::state s)
{
    return out << static_cast<int>(s);
}

} // namespace avirt::detail

namespace {

namespace data = boost::unit_test::data;
using avirt::detail::failure;
using avirt::detail::receive_state;
using state = receive_state::state;

const failure eof = avirt::error_code(boost::asio::error::eof);
const failure lost = avirt::error_code(boost::asio::error::connection_reset);

} // namespace

BOOST_AUTO_TEST_SUITE(stream_receive_state)

BOOST_DATA_TEST_CASE(
    a_receive_may_be_tried_while_there_may_be_something,
    data::make({state::empty, state::maybe_more, state::draining, state::ended})
        ^ data::make({false, true, true, false}),
    initial, may_receive)
{
    const receive_state s(initial);
    BOOST_TEST(s.may_receive() == may_receive);
    BOOST_TEST(s.has_ended() == (initial == state::ended));
}

BOOST_DATA_TEST_CASE(
    a_report_is_news_of_an_empty_queue_only,
    data::make({state::empty, state::maybe_more, state::draining, state::ended})
        ^ data::make({state::maybe_more, state::maybe_more, state::draining, state::ended}),
    initial, expected)
{
    receive_state s(initial);
    s.report();
    BOOST_TEST(s.get() == expected);
}

BOOST_DATA_TEST_CASE(
    a_report_is_good_for_one_receive_unless_the_connection_is_lost,
    data::make({state::empty, state::maybe_more, state::draining, state::ended})
        ^ data::make({state::empty, state::empty, state::draining, state::ended}),
    initial, expected)
{
    receive_state s(initial);
    s.use_report();
    BOOST_TEST(s.get() == expected);
}

BOOST_DATA_TEST_CASE(
    nothing_found_empties_the_queue_and_ends_a_lost_one,
    data::make({state::empty, state::maybe_more, state::draining, state::ended})
        ^ data::make({state::empty, state::empty, state::ended, state::ended}),
    initial, expected)
{
    receive_state s(initial);
    s.found_nothing();
    BOOST_TEST(s.get() == expected);
}

BOOST_DATA_TEST_CASE(
    a_lost_connection_is_drained_first, data::make({state::empty, state::maybe_more, state::draining}),
    initial)
{
    receive_state s(initial);
    s.lose(lost);
    BOOST_TEST(s.get() == state::draining);
    s.found_nothing();
    BOOST_TEST(s.has_ended());
    BOOST_TEST(s.why_ended().code == lost.code);
}

BOOST_AUTO_TEST_CASE(a_loss_does_not_take_the_place_of_the_end)
{
    receive_state s(state::maybe_more);
    s.end(eof);
    s.lose(lost);
    BOOST_TEST(s.has_ended());
    BOOST_TEST(s.why_ended().code == eof.code);
}

BOOST_AUTO_TEST_CASE(an_end_found_while_draining_says_more_than_the_loss)
{
    receive_state s(state::maybe_more);
    s.lose(lost);
    s.end(eof);
    BOOST_TEST(s.has_ended());
    BOOST_TEST(s.why_ended().code == eof.code);
}

BOOST_AUTO_TEST_CASE(the_end_is_final)
{
    receive_state s(state::maybe_more);
    s.end(eof);
    s.report();
    BOOST_TEST(!s.may_receive());
    s.found_nothing();
    s.use_report();
    BOOST_TEST(s.has_ended());
    BOOST_TEST(s.why_ended().code == eof.code);
}

BOOST_AUTO_TEST_SUITE_END()
