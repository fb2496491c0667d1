// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <fstream>

#include <unistd.h>

namespace relay_test {
namespace {

relay_program::arguments on_guest(relay_program::arguments more = {})
{
    return daemon::instance().on_guest(std::move(more));
}

/// A relay on a terminal, whose mode has to be restored at the end.
class relay_on_terminal : public relay_program
{
public:
    explicit relay_on_terminal(const relay_program::arguments& args) : relay_program(args, terminal())
    {
        errors(" leaves.");
        wait_until("raw mode", [&] { return is_raw(); });
    }

    int status()
    {
        const int result = relay_program::status();
        BOOST_TEST_INFO("the terminal was not restored");
        BOOST_TEST(is_as_before());
        BOOST_TEST(!is_nonblocking());
        return result;
    }
};

/// Checks that the guest is running, and has received nothing that switches it off.
void check_guest_lives()
{
    relay_on_terminal relay(on_guest());
    relay.type("there?\r");
    relay.output("there?\r\n");
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(daemon::instance().is_running());
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_terminal, private_directory)

BOOST_AUTO_TEST_CASE(keys_go_to_the_guest)
{
    relay_on_terminal relay(on_guest());
    BOOST_TEST(!relay.is_nonblocking());
    relay.type("hello\r");
    relay.output("hello\r\n");
    relay.type("\x03\x1a\x1c;"); // Ctrl-C, Ctrl-Z, Ctrl-backslash
    relay.output("\x03\x1a\x1c;");
    BOOST_TEST(!relay.is_nonblocking());
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.rest_of_errors() == "\nconsole_relay: Left the console of 'echo'.\n");
}

BOOST_AUTO_TEST_CASE(nothing_after_the_escape_is_sent)
{
    relay_on_terminal relay(on_guest());
    relay.type("now");
    relay.output("now");
    relay.type("a\x1d\x04"); // Ctrl-D would switch the guest off.
    BOOST_TEST(relay.status() == 0);
    check_guest_lives();
}

BOOST_AUTO_TEST_CASE(all_before_the_escape_is_sent)
{
    relay_on_terminal relay(on_guest());
    relay.type("now");
    relay.output("now");
    relay.type("a\x04\x1d");
    BOOST_TEST(relay.status() == 0);
    wait_until("the guest is off", [] { return !daemon::instance().is_running(); });
}

BOOST_AUTO_TEST_CASE(another_escape)
{
    relay_on_terminal relay(on_guest({"--escape", "^A"}));
    relay.type("\x1d;");
    relay.output("\x1d;");
    relay.type("\x01");
    BOOST_TEST(relay.status() == 0);

    relay_program without(on_guest({"--escape", "none"}), relay_program::terminal());
    without.errors("Attached to 'echo'.");
    wait_until("raw mode", [&] { return without.is_raw(); });
    without.type("\x1d\x01;");
    without.output("\x1d\x01;");
    without.send_signal(SIGTERM);
    BOOST_TEST(without.status() == 128 + SIGTERM);
    BOOST_TEST(without.is_as_before());
}

BOOST_AUTO_TEST_CASE(signals)
{
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
        relay_on_terminal relay(on_guest());
        relay.send_signal(signal);
        BOOST_TEST(relay.status() == 128 + signal);
        relay.errors("\nconsole_relay: Ended by a signal: ");
    }
}

BOOST_AUTO_TEST_CASE(guest_destroyed)
{
    relay_on_terminal relay(on_guest());
    daemon::instance().destroy();
    BOOST_TEST(relay.status() == 3);
    BOOST_TEST(
        relay.rest_of_errors()
        == "\nconsole_relay: The guest was shut down: the console of 'echo' has ended. Start it, then attach "
           "again.\n");
}

BOOST_AUTO_TEST_CASE(guest_not_running)
{
    const auto args = on_guest();
    daemon::instance().destroy();
    relay_program relay(args, {"/dev/null"});
    BOOST_TEST(relay.status() == 1);
    BOOST_TEST(
        relay.rest_of_errors() == "console_relay: The domain 'echo' is not running; start it first.\n");
}

BOOST_AUTO_TEST_CASE(no_such_device)
{
    relay_program relay(on_guest({"--device", "serial7"}), {"/dev/null"});
    BOOST_TEST(relay.status() == 1);
    relay.errors("The domain 'echo' has no such console (");
    relay.errors("; --list shows its consoles.\n");

    relay_program list({"--connect", daemon::instance().uri(), "--list"}, {"/dev/null"});
    BOOST_TEST(list.status() == 0);
    list.output("echo                     running   serial0, serial1\n");
}

BOOST_AUTO_TEST_CASE(a_device_that_is_no_terminal)
{
    relay_program relay(on_guest({"--device", "serial1"}), {"/dev/null"});
    BOOST_TEST(relay.status() == 1);
    relay.errors("The console of 'echo' is of a kind that cannot be opened: ");
}

BOOST_AUTO_TEST_CASE(busy_console_and_takeover)
{
    relay_on_terminal first(on_guest({"--device", "serial0"}));
    relay_program second(on_guest(), {"/dev/null"});
    BOOST_TEST(second.status() == 1);
    BOOST_TEST(
        second.rest_of_errors()
        == "console_relay: Another session has the console of 'echo'; --force takes it over.\n");
    relay_on_terminal third(on_guest({"--force"}));
    BOOST_TEST(first.status() == 3);
    first.errors("the console of 'echo'");
    first.errors("--force takes it back.\n");
    third.type("mine");
    third.output("mine");
    third.type("\x1d");
    BOOST_TEST(third.status() == 0);
}

BOOST_AUTO_TEST_CASE(input_from_a_pipe)
{
    std::string line; // More than the guest, or anything on the way, takes at once.
    for (int i = 0; line.size() < 20000; ++i)
        line += std::to_string(i) + ' ';
    relay_program relay(on_guest());
    relay.type(
        line
        + "\x1d"
          "end"); // No escape without a terminal.
    relay.end_input();
    relay.output(
        line
        + "\x1d"
          "end");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.rest_of_errors() == "");
}

BOOST_AUTO_TEST_CASE(input_from_files)
{
    const auto text = path() + "/text";
    std::ofstream(text) << "from a file\r";
    relay_program relay(on_guest(), {text});
    relay.output("from a file\r\n");
    BOOST_TEST(relay.status() == 0);
    ::unlink(text.c_str());

    relay_program nothing(on_guest(), {"/dev/null"});
    BOOST_TEST(nothing.status() == 0);
}

BOOST_AUTO_TEST_CASE(standard_output_is_closed)
{
    relay_program relay(on_guest());
    relay.type("x");
    relay.output("x");
    relay.close_output();
    relay.type("y");
    BOOST_TEST(relay.status() == 1);
    BOOST_TEST(relay.rest_of_errors() == "console_relay: Standard output failed: Broken pipe.\n");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
