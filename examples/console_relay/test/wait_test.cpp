// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <string>

// Tests a relay that waits for the console, instead of ending with it.

namespace relay_test {
namespace {

void check_echo(relay_program& relay, const std::string& line)
{
    relay.type(line + "\r");
    relay.output(line + "\r\n");
}

void leave(relay_program& relay)
{
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.is_as_before());
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_wait, private_directory)

BOOST_AUTO_TEST_CASE(a_guest_that_is_shut_down_and_started_again)
{
    auto& guests = daemon::instance();
    guests.destroy();
    relay_program relay(guests.with_guest({"--wait"}), relay_program::terminal());
    relay.errors("Waiting for the console of 'echo'; ^] leaves.\n");
    relay.errors(" the guest is off]\n");
    guests.on_guest();
    relay.errors(" the console is open]\n");
    check_echo(relay, "one");
    guests.destroy();
    const auto text = relay.errors(" the guest is off]\n");
    BOOST_TEST(text[text.find('[') + 3] == ':'); // [HH:MM:SS
    relay.type("x");
    relay.errors("\a"); // The console is not open, so the relay drops the key.
    guests.on_guest();
    relay.errors(" the console is open]\n");
    check_echo(relay, "two");
    leave(relay);
}

BOOST_AUTO_TEST_CASE(what_is_said_on_a_terminal_has_lines_of_its_own_and_is_dim)
{
    auto& guests = daemon::instance();
    relay_program relay(guests.on_guest({"--wait"}), relay_program::terminal::all_three);
    relay.output(" leaves.");
    relay.output(" the console is open]\x1b[0m\r\n");
    relay.type("half a line");
    relay.output("half a line");
    guests.suspend();
    const auto text = relay.output(" the guest is paused]\x1b[0m\r\n");
    BOOST_TEST(text.starts_with("\r\n\x1b[2m["));
    guests.resume();
    const auto more = relay.output(" the guest goes on]\x1b[0m\r\n");
    BOOST_TEST(more.starts_with("\x1b[2m["));
    leave(relay);
}

BOOST_AUTO_TEST_CASE(a_console_that_another_session_takes_over_and_leaves)
{
    auto& guests = daemon::instance();
    relay_program relay(guests.on_guest({"--wait"}), relay_program::terminal());
    relay.errors(" the console is open]\n");
    {
        relay_program other(guests.on_guest({"--force"}), relay_program::terminal());
        other.errors(" leaves.");
        relay.errors(" another session has taken the console over]\n");
        relay_program third(guests.on_guest({"--wait"}), relay_program::terminal());
        third.errors(" another session has the console]\n");
        leave(third);
        leave(other);
    }
    relay.errors(" the console is open]\n");
    check_echo(relay, "mine");
    leave(relay);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_comes_back)
{
    daemon guests;
    relay_program relay(guests.on_guest({"--wait"}), relay_program::terminal());
    relay.errors(" the console is open]\n");
    check_echo(relay, "one");
    guests.libvirtd().leave(SIGKILL);
    relay.errors(" no connection to libvirt: ");
    guests.libvirtd().come_back();
    relay.errors(" the console is open]\n");
    check_echo(relay, "two");
    leave(relay);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_is_not_there_yet)
{
    daemon guests;
    guests.on_guest();
    guests.libvirtd().leave(SIGTERM);
    wait_until("the daemon has left", [&] { return guests.libvirtd().has_left(); });
    relay_program relay(guests.with_guest({"--wait"}), relay_program::terminal());
    relay.errors("No connection to ");
    guests.libvirtd().come_back();
    relay.errors(" the console is open]\n");
    check_echo(relay, "one");
    leave(relay);
}

BOOST_AUTO_TEST_CASE(input_from_a_pipe_waits_for_the_guest)
{
    auto& guests = daemon::instance();
    guests.destroy();
    relay_program relay(guests.with_guest({"--wait"}));
    relay.type("one\r");
    relay.end_input();
    relay.errors(" the guest is off]\n");
    guests.on_guest();
    relay.output("one\r\n");
    BOOST_TEST(relay.status() == 0);
}

BOOST_AUTO_TEST_CASE(clients_are_told)
{
    auto& guests = daemon::instance();
    const auto address = "unix:" + path() + "/console";
    relay_program relay(guests.on_guest({"--wait", "--listen", address}), {"/dev/null"});
    relay.errors("listening on ");
    client one(address);
    one.output(" the console is open]\r\n");
    one.type("half a line");
    one.output("half a line");
    guests.destroy();
    relay.errors(" the guest is off]\n");
    const auto text = one.output(" the guest is off]\r\n");
    BOOST_TEST(text.starts_with("\r\n["));
    client two(address); // It is told without a time: the changes are older than the client.
    two.output("[the console is open]\r\n");
    two.output("half a line\r\n[the guest is off]\r\n");
    guests.on_guest();
    for (auto* each : {&one, &two})
        each->output(" the console is open]\r\n");
    one.type("there?\r");
    two.output("there?\r\n");
    relay.send_signal(SIGTERM);
    BOOST_TEST(one.rest().ends_with("[console_relay: Ended by a signal: Terminated.]\r\n"));
    BOOST_TEST(relay.status() == 128 + SIGTERM);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
