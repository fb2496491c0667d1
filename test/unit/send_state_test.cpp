// SPDX-License-Identifier: BSL-1.0
#include "stream/send_state.hpp"

#include <avirt/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

#include <ostream>

namespace avirt::detail {

static std::ostream& operator<<(std::ostream& out, send_state::state s)
{
    return out << static_cast<int>(s);
}

static std::ostream& operator<<(std::ostream& out, send_state::step s)
{
    return out << static_cast<int>(s);
}

} // namespace avirt::detail

namespace {

using avirt::detail::failure;
using avirt::detail::send_state;
using method = send_state::method;
using state = send_state::state;
using step = send_state::step;

const failure broken = avirt::error_code(boost::asio::error::broken_pipe);

} // namespace

BOOST_AUTO_TEST_SUITE(stream_send_state_direct)

BOOST_AUTO_TEST_CASE(a_send_may_always_be_tried)
{
    send_state s(method::direct);
    BOOST_TEST(s.next() == step::send);
    s.found_no_room();
    BOOST_TEST(s.next() == step::send);
    s.report_writable();
    BOOST_TEST(s.next() == step::send);
    s.sent();
    BOOST_TEST(s.next() == step::send);
    s.report_failure();
    BOOST_TEST(s.next() == step::send);
}

BOOST_AUTO_TEST_CASE(a_wait_for_writing_needs_a_report_since_the_latest_send)
{
    send_state s(method::direct);
    BOOST_TEST(!s.is_ready());
    s.report_writable();
    BOOST_TEST(s.is_ready());
    s.sent();
    BOOST_TEST(!s.is_ready());
    s.report_writable();
    s.found_no_room();
    BOOST_TEST(!s.is_ready());
}

BOOST_AUTO_TEST_CASE(a_hang_up_is_never_forgotten)
{
    send_state s(method::direct);
    BOOST_TEST(!s.has_failed());
    s.report_failure();
    s.sent();
    s.found_no_room();
    BOOST_TEST(s.has_failed());
    BOOST_TEST(s.is_ready());
}

BOOST_AUTO_TEST_CASE(a_refusal_is_final)
{
    send_state s(method::direct);
    s.refuse(broken);
    s.report_writable();
    s.sent();
    s.found_no_room();
    BOOST_TEST(s.get() == state::refused);
    BOOST_TEST(s.next() == step::fail);
    BOOST_TEST(s.refusal().code == broken.code);
    BOOST_TEST(s.has_failed());
    BOOST_TEST(s.is_ready());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(stream_send_state_on_worker)

BOOST_AUTO_TEST_CASE(one_send_at_a_time)
{
    send_state s(method::on_worker);
    BOOST_TEST(s.next() == step::submit);
    const auto first = s.next_number();
    s.submit();
    BOOST_TEST(s.next() == step::wait_for_worker);
    BOOST_TEST(s.is_on_worker(first));
    s.report_writable();
    BOOST_TEST(s.next() == step::wait_for_worker);
    s.sent();
    BOOST_TEST(!s.is_on_worker(first));
    BOOST_TEST(s.next() == step::submit);
}

BOOST_AUTO_TEST_CASE(a_send_without_room_waits_for_a_report)
{
    send_state s(method::on_worker);
    s.submit();
    s.found_no_room();
    BOOST_TEST(s.next() == step::wait_for_writable);
    s.report_writable();
    BOOST_TEST(s.next() == step::submit);
}

BOOST_AUTO_TEST_CASE(an_earlier_report_does_not_count)
{
    send_state s(method::on_worker);
    s.submit();
    s.report_writable();
    s.found_no_room();
    BOOST_TEST(s.next() == step::wait_for_writable);
}

BOOST_AUTO_TEST_CASE(a_hang_up_is_worth_a_send_that_fails)
{
    send_state s(method::on_worker);
    s.submit();
    s.found_no_room();
    s.report_failure();
    BOOST_TEST(s.next() == step::submit);
    BOOST_TEST(s.has_failed());
}

BOOST_AUTO_TEST_CASE(a_write_is_always_worth_an_attempt)
{
    send_state s(method::on_worker);
    BOOST_TEST(s.is_ready());
    s.submit();
    BOOST_TEST(s.is_ready());
    s.found_no_room();
    BOOST_TEST(s.is_ready());
}

BOOST_AUTO_TEST_CASE(what_was_given_up_returns_in_vain)
{
    send_state s(method::on_worker);
    const auto first = s.next_number();
    s.submit();
    s.give_up();
    BOOST_TEST(!s.is_on_worker(first));
    BOOST_TEST(s.next() == step::submit);
    const auto second = s.next_number();
    s.submit();
    BOOST_TEST(!s.is_on_worker(first));
    BOOST_TEST(s.is_on_worker(second));
}

BOOST_AUTO_TEST_CASE(giving_up_changes_nothing_else)
{
    send_state s(method::on_worker);
    s.submit();
    s.found_no_room();
    s.give_up();
    BOOST_TEST(s.next() == step::wait_for_writable);
}

BOOST_AUTO_TEST_CASE(a_refusal_ends_a_send_under_way)
{
    send_state s(method::on_worker);
    const auto number = s.next_number();
    s.submit();
    s.refuse(broken);
    BOOST_TEST(!s.is_on_worker(number));
    BOOST_TEST(s.next() == step::fail);
    s.give_up();
    BOOST_TEST(s.next() == step::fail);
}

BOOST_AUTO_TEST_SUITE_END()
