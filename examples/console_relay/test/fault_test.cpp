// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <csignal>

// Tests a daemon that stops or dies, a guest that does not read, and other kinds of daemons.

namespace relay_test {
namespace {

struct fault_fixture : private_directory
{
    daemon guests;
    relay_program relay{guests.on_guest(), relay_program::terminal()};

    fault_fixture()
    {
        relay.errors(" leaves.");
        relay.type("there?\r");
        relay.output("there?\r\n");
    }

    ~fault_fixture()
    {
        guests.libvirtd().thaw();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_fault, fault_fixture)

BOOST_AUTO_TEST_CASE(left_while_the_daemon_is_stopped)
{
    guests.libvirtd().freeze();
    relay.type(std::string(1000, 'x') + "\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(a_signal_while_the_daemon_is_stopped)
{
    guests.libvirtd().freeze();
    relay.send_signal(SIGTERM);
    BOOST_TEST(relay.status() == 128 + SIGTERM);
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(a_signal_while_connecting)
{
    guests.libvirtd().freeze();
    relay_program second(guests.with_guest());
    wait_until("the relay catches SIGTERM", [&] { return second.catches(SIGTERM); });
    second.send_signal(SIGTERM);
    BOOST_TEST(second.status() == 128 + SIGTERM);
}

BOOST_AUTO_TEST_CASE(the_daemon_stops_for_a_while)
{
    guests.libvirtd().freeze();
    relay.type("later\r");
    guests.libvirtd().thaw();
    relay.output("later\r\n");
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
}

BOOST_AUTO_TEST_CASE(the_daemon_dies)
{
    guests.libvirtd().kill();
    BOOST_TEST(relay.status() == 1);
    relay.errors("The connection to libvirt was lost, and with it the console of 'echo'; attach again.\n");
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(the_daemon_quits)
{
    guests.libvirtd().quit();
    BOOST_TEST(relay.status() == 1);
    relay.errors("The connection to libvirt was lost, and with it the console of 'echo'; attach again.\n");
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(the_guest_does_not_read)
{
    guests.suspend();
    relay.type(std::string(100 * 1024, 'x') + "\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(another_session_takes_the_console)
{
    auto forced = guests.on_guest({"--force"});
    relay_program second(forced, relay_program::terminal());
    second.errors(" leaves.");
    BOOST_TEST(relay.status() == 3);
    relay.errors("Another session took over the console of 'echo'; --force takes it back.\n");
    second.type("\x1d");
    BOOST_TEST(second.status() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(relay_access, private_directory)

BOOST_DATA_TEST_CASE(other_daemons, boost::unit_test::data::make({true, false}), over_tcp)
{
    using kind = support::libvirtd::kind;
    if (!over_tcp && !support::libvirtd::can_be_system()) {
        BOOST_TEST_MESSAGE("skipped: only root can run a system daemon");
        return;
    }
    daemon guests(over_tcp ? kind::session_over_tcp : kind::system);
    relay_program relay(guests.on_guest(), relay_program::terminal());
    relay.errors(" leaves.");
    relay.type("there?\r");
    relay.output("there?\r\n");
    guests.libvirtd().freeze();
    relay.type(std::string(1000, 'x') + "\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.is_as_before());
    guests.libvirtd().thaw();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
