// SPDX-License-Identifier: BSL-1.0
#include "host/console_input.hpp"

#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <string>

using namespace std::chrono_literals;

namespace {

namespace asio = boost::asio;
using avirt::error;
using avirt::detail::console_input;
using avirt::detail::const_buffer_list;
using avirt::detail::io_result;
using support::outcome;
using clock_type = avirt::detail::input_pacing::clock;

struct input_fixture
{
    asio::io_context io;
    std::shared_ptr<console_input> input = std::make_shared<console_input>(io.get_executor(), false);
    clock_type::time_point now = clock_type::now();

    /// Returns whether the write need not wait.
    bool write(const std::string& text, std::size_t accepted, avirt::error_code expected = {})
    {
        io_result result;
        if (!input->try_write(const_buffer_list(asio::buffer(text)), result))
            return false;
        BOOST_TEST(result.ending.code == expected);
        BOOST_TEST(result.bytes == accepted);
        return true;
    }

    /// Sends the next packet, and returns its size.
    std::size_t send()
    {
        const auto size = input->next_packet(now).size();
        if (size != 0)
            input->sent(size, now);
        return size;
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(console_input_, input_fixture)

BOOST_AUTO_TEST_CASE(nothing_is_accepted_unless_a_console_is_open)
{
    BOOST_TEST(write("x", 0, error::not_attached));
    input->attach();
    BOOST_TEST(write("x", 1));
    input->detach();
    BOOST_TEST(write("x", 0, error::not_attached));
    input->close();
    BOOST_TEST(write("x", 0, error::not_open));
    input->attach();
    BOOST_TEST(write("x", 0, error::not_open));
}

BOOST_AUTO_TEST_CASE(what_is_written_while_a_packet_is_sent_is_the_next_packet)
{
    input->attach();
    write("one", 3);
    const auto packet = input->next_packet(now);
    BOOST_TEST(packet.size() == 3U);
    write("two", 3);
    write("three", 5);
    BOOST_TEST(input->next_packet(now).size() == 0U);
    input->sent(3, now);
    BOOST_TEST(send() == 8U);
}

BOOST_AUTO_TEST_CASE(what_was_sent_in_part_is_sent_before_everything_else)
{
    input->attach();
    write("hello", 5);
    static_cast<void>(input->next_packet(now));
    write(" world", 6);
    input->sent(2, now);
    const auto packet = input->next_packet(now);
    const std::string text(static_cast<const char*>(packet.data()), packet.size());
    BOOST_TEST(text == "llo world");
}

BOOST_AUTO_TEST_CASE(a_silent_guest_is_sent_4_kib_in_small_packets_and_then_four_packets)
{
    input->attach();
    for (int i = 0; i < 4096; ++i) {
        write("x", 1);
        BOOST_TEST(send() == 1U);
    }
    write("first", 5);
    BOOST_TEST(send() == 5U);
    for (const std::size_t size : {2U, 3U, 4U}) {
        write(std::string(size, 'x'), size);
        BOOST_TEST(send() == 0U); // Not within a second.
        now += 1s;
        BOOST_TEST(send() == size);
    }
    write("more", 4);
    now += 1h;
    BOOST_TEST(send() == 0U);
    BOOST_TEST(input->heard(false));
    BOOST_TEST(send() == 4U);
}

BOOST_AUTO_TEST_CASE(a_guest_that_takes_nothing_for_some_seconds_is_stalled)
{
    input->attach();
    for (int i = 0; i < 4; ++i) {
        write(std::string(5000, 'x'), 5000);
        BOOST_TEST(send() == 5000U);
        now += 1s;
    }
    BOOST_TEST(!input->is_stalled(now + 10s, false)); // Nothing waits.
    write("waits", 5);
    BOOST_TEST(!input->is_stalled(now, false));
    const auto change = input->next_change(now, false);
    BOOST_TEST_REQUIRE(change.has_value());
    BOOST_TEST(input->is_stalled(*change, false));
    BOOST_TEST(!input->next_change(*change, false).has_value()); // Nothing to wait for but the guest.
    input->heard(false);
    BOOST_TEST(!input->is_stalled(*change, false));
}

BOOST_AUTO_TEST_CASE(a_paused_guest_stalls_at_any_input_since)
{
    input->attach();
    write("before", 6);
    send();
    input->on_paused(now + 1s);
    BOOST_TEST(input->is_stalled(now + 10s, true)); // It may not have been taken.
    input->on_paused(now + 1h);
    BOOST_TEST(!input->next_change(now, true).has_value());
    BOOST_TEST(!input->is_stalled(now + 10s, true));
    write("x", 1);
    send();
    BOOST_TEST(!input->is_stalled(now + 10s, false));
    BOOST_TEST(input->is_stalled(now + 10s, true));
    BOOST_TEST(!input->is_stalled(now, true));
}

BOOST_AUTO_TEST_CASE(what_a_paused_guest_has_printed_before_says_nothing)
{
    input->attach();
    for (int i = 0; i < 4; ++i) {
        write(std::string(5000, 'x'), 5000);
        send();
        now += 1s;
    }
    write("more", 4);
    BOOST_TEST(!input->heard(true));
    BOOST_TEST(send() == 0U);
}

BOOST_AUTO_TEST_CASE(nothing_changes_with_time_while_a_packet_is_sent_but_that_it_stalls)
{
    input->attach();
    write("one", 3);
    BOOST_TEST((*input->next_change(now, false) == now)); // It may be sent.
    static_cast<void>(input->next_packet(now));
    write("two", 3);
    const auto change = input->next_change(now, false);
    BOOST_TEST_REQUIRE(change.has_value());
    BOOST_TEST((*change > now));
    BOOST_TEST(input->is_stalled(*change, false));
}

BOOST_AUTO_TEST_CASE(only_an_idle_console_can_be_left)
{
    input->attach();
    write("x", 1);
    BOOST_TEST(!input->detach_if_idle().has_value());
    send();
    const auto in_doubt = input->detach_if_idle();
    BOOST_TEST_REQUIRE(in_doubt.has_value());
    BOOST_TEST(*in_doubt == 1U);
    BOOST_TEST(write("x", 0, error::not_attached));
    input->arrived(*in_doubt);
    BOOST_TEST(input->take_unknown() == 0U);
}

BOOST_AUTO_TEST_CASE(what_exceeds_the_limit_waits_for_room)
{
    input->attach();
    const std::string much(100'000, 'x');
    write(much, 65536);
    BOOST_TEST(!write("x", 1));
    outcome first, second;
    input->async_write(const_buffer_list(asio::buffer(much)), first.handler(), nullptr);
    input->async_write(const_buffer_list(asio::buffer("y", 1)), second.handler(), nullptr);
    BOOST_TEST(input->next_packet(now).size() == 65536U);
    io.poll();
    BOOST_TEST(first.bytes() == 65536U);
    BOOST_TEST(second.calls() == 0);
    BOOST_TEST(write("", 0)); // An empty write does not wait.
    input->sent(65536, now);
    now += 1s;
    BOOST_TEST(input->next_packet(now).size() == 65536U);
    io.restart();
    io.poll();
    BOOST_TEST(second.bytes() == 1U);
}

BOOST_AUTO_TEST_CASE(a_write_that_waits_can_be_cancelled)
{
    input->attach();
    const std::string much(65536, 'x');
    write(much, 65536);
    asio::cancellation_signal signal;
    outcome cancelled, next;
    input->async_write(
        const_buffer_list(asio::buffer("a", 1)),
        asio::bind_cancellation_slot(signal.slot(), cancelled.handler()), nullptr);
    input->async_write(const_buffer_list(asio::buffer("bc", 2)), next.handler(), nullptr);
    signal.emit(asio::cancellation_type::total);
    send();
    io.poll();
    BOOST_TEST(cancelled.ec() == asio::error::operation_aborted);
    BOOST_TEST(next.bytes() == 2U);
}

BOOST_AUTO_TEST_CASE(input_is_unknown_unless_the_guest_has_answered_since)
{
    input->attach();
    write("known", 5);
    send();
    input->heard(false);
    write("sent", 4);
    send();
    write("being sent", 10);
    static_cast<void>(input->next_packet(now));
    write("not sent", 8);
    input->detach();
    BOOST_TEST(input->take_unknown() == 22U);
    BOOST_TEST(input->take_unknown() == 0U);
    input->sent(10, now); // It comes late.
    input->attach();
    write("x", 1);
    BOOST_TEST(send() == 1U);
    input->detach();
    BOOST_TEST(input->take_unknown() == 1U);
}

BOOST_AUTO_TEST_CASE(input_is_unknown_when_the_session_is_closed)
{
    input->attach();
    write("sent", 4);
    send();
    write("being sent", 10);
    const auto packet = input->next_packet(now);
    write("unsent", 6);
    input->close();
    BOOST_TEST(input->take_unknown() == 4U + packet.size() + 6U);
    input->sent(packet.size(), now);
    input->detach();
    BOOST_TEST(input->take_unknown() == 0U);
}

BOOST_AUTO_TEST_CASE(writes_may_wait_for_a_console)
{
    input = std::make_shared<console_input>(io.get_executor(), true);
    outcome accepted, refused;
    BOOST_TEST(!write("x", 1));
    input->async_write(const_buffer_list(asio::buffer("x", 1)), accepted.handler(), nullptr);
    BOOST_TEST(input->is_waiting());
    input->attach();
    io.poll();
    BOOST_TEST(accepted.bytes() == 1U);
    send();
    BOOST_TEST(!input->is_waiting());
    input->detach();
    input->async_write(const_buffer_list(asio::buffer("x", 1)), refused.handler(), nullptr);
    input->refuse(error::not_attached);
    io.restart();
    io.poll();
    BOOST_TEST(refused.ec() == error::not_attached);
}

BOOST_AUTO_TEST_SUITE_END()
