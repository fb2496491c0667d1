// SPDX-License-Identifier: BSL-1.0
#include "loop/keepalive_monitor.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <memory>
#include <ostream>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

namespace avirt::detail {

std::ostream& operator<<(std::ostream& out, keepalive_action a)
{
    return out << "action " << static_cast<int>(a);
}

} // namespace avirt::detail

namespace {

using avirt::detail::connection_socket;
using avirt::detail::keepalive_action;
using avirt::detail::supervise_keepalive;
using avirt::detail::timeout_table;
using avirt::detail::watch_table;

/// A connection whose watch asks for READABLE, on one end of a pair. The other end is the daemon.
struct keepalive_fixture
{
    std::array<int, 2> ends{-1, -1};
    std::shared_ptr<connection_socket> socket = std::make_shared<connection_socket>();
    watch_table watches;
    timeout_table::timeout timer;

    keepalive_fixture()
    {
        constexpr int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
        BOOST_REQUIRE(::socketpair(AF_UNIX, type, 0, ends.data()) == 0);
        watches.open({});
        socket->fd = ends[0];
        socket->watch = watches.add({.fd = ends[0], .events = VIR_EVENT_HANDLE_READABLE, .socket = socket});
        socket->max_silence = 3;
        socket->is_plain = true;
        timer.socket = socket;
    }

    ~keepalive_fixture()
    {
        ::close(ends[0]);
        ::close(ends[1]);
    }

    /// The timer was due for the nth time since a message from the daemon restarted it.
    keepalive_action due(unsigned n)
    {
        timer.in_a_row = n;
        return supervise_keepalive(timer, watches);
    }

    void daemon_says(const char* text) const
    {
        BOOST_REQUIRE(::send(ends[1], text, 1, 0) == 1);
    }

    /// Pauses the socket until libvirt hears of nothing.
    void pause()
    {
        watches.pause(socket->watch);
    }
};

BOOST_FIXTURE_TEST_SUITE(keepalive_monitor, keepalive_fixture)

BOOST_AUTO_TEST_CASE(libvirt_sends_its_pings)
{
    for (int i = 0; i < 10; ++i)
        BOOST_TEST(due(1) == keepalive_action::call_libvirt);
}

BOOST_AUTO_TEST_CASE(a_silent_daemon_costs_the_connection)
{
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
    BOOST_TEST(due(2) == keepalive_action::call_libvirt);
    BOOST_TEST(due(3) == keepalive_action::call_libvirt);
    BOOST_TEST(due(4) == keepalive_action::interrupt);
}

BOOST_AUTO_TEST_CASE(without_a_limit_silence_is_allowed)
{
    socket->max_silence = 0;
    for (unsigned n = 1; n < 100; ++n)
        BOOST_TEST(due(n) == keepalive_action::call_libvirt);
}

BOOST_AUTO_TEST_CASE(a_message_that_stays_in_the_socket_is_a_sign_of_life)
{
    pause();
    for (unsigned n = 1; n < 20; ++n) {
        daemon_says("x");
        BOOST_TEST(due(n) == keepalive_action::send_pong);
    }
}

BOOST_AUTO_TEST_CASE(a_full_socket_is_left_alone)
{
    const std::vector<char> bytes(4096);
    while (::send(ends[0], bytes.data(), bytes.size(), 0) > 0)
        ;
    BOOST_TEST(due(1) == keepalive_action::skip);
}

BOOST_AUTO_TEST_CASE(a_full_socket_that_does_not_move_costs_the_connection)
{
    const std::vector<char> bytes(4096);
    while (::send(ends[0], bytes.data(), bytes.size(), 0) > 0)
        ;
    BOOST_TEST(due(2) == keepalive_action::skip);
    BOOST_TEST(due(3) == keepalive_action::skip);
    BOOST_TEST(due(4) == keepalive_action::interrupt);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_takes_what_is_sent_lives)
{
    std::vector<char> bytes(4096);
    while (::send(ends[0], bytes.data(), bytes.size(), 0) > 0)
        ;
    due(2);
    for (unsigned n = 3; n < 8; ++n) {
        for (int i = 0; i < 2; ++i)
            BOOST_REQUIRE(::recv(ends[1], bytes.data(), bytes.size(), 0) > 0);
        BOOST_TEST(due(n) != keepalive_action::interrupt);
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_read_from_a_paused_socket)
{
    daemon_says("x");
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
    pause();
    BOOST_TEST(due(1) == keepalive_action::send_pong);
    watches.update(
        socket->watch, VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE,
        watch_table::disabling::at_once);
    BOOST_TEST(due(1) == keepalive_action::serve_writable);
    watches.update(socket->watch, 0, watch_table::disabling::at_once); // A thread sends or calls.
    BOOST_TEST(due(1) == keepalive_action::skip);
    watches.resume(socket->watch);
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
}

BOOST_AUTO_TEST_CASE(an_encrypted_connection_gets_no_answer_past_libvirt)
{
    socket->is_plain = false;
    daemon_says("x");
    pause();
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
}

BOOST_AUTO_TEST_CASE(pings_of_a_waiting_thread_are_no_sign_of_life)
{
    BOOST_REQUIRE(::send(ends[0], "x", 1, 0) == 1); // a PING that the daemon does not take
    timer.by_calls = true;
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
    BOOST_TEST(due(1) == keepalive_action::call_libvirt);
    BOOST_TEST(due(1) == keepalive_action::interrupt);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_left_to_libvirt)
{
    socket->fd = -1;
    for (unsigned n = 1; n < 10; ++n)
        BOOST_TEST(due(n) == keepalive_action::call_libvirt);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
