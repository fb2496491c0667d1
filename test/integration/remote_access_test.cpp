// SPDX-License-Identifier: BSL-1.0
#include "access_fixture.hpp"

#include <support/temporary_directory.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/data/test_case.hpp>

// Daemons that are reached over TCP, whose socket takes less data than the size of its buffer suggests, or
// through a command, as with SSH; and a system daemon.

namespace {

namespace data = boost::unit_test::data;

support::libvirtd& tcp_daemon()
{
    static support::libvirtd daemon(support::libvirtd::kind::session_over_tcp);
    return daemon;
}

struct tcp_fixture : access_fixture
{
    tcp_fixture() : access_fixture(tcp_daemon()) {}
};

/// The command that libvirt runs to reach the daemon. It has a directory of its own: as root, libvirt gives
/// up the right to enter the daemon's directory before it runs a command.
struct command
{
    const support::temporary_directory directory{"/tmp/avirt-command-"};

    command()
    {
        std::filesystem::permissions(directory.path, std::filesystem::perms(0755));
        // Starts the daemon before the script is written: its processes must not inherit the open script.
        const auto socket = shared_daemon().socket();
        std::ofstream(script()) << "#!/bin/sh\nexec " SOCKET_BRIDGE " " << socket << '\n';
        std::filesystem::permissions(script(), std::filesystem::perms(0755));
    }

    std::filesystem::path script() const
    {
        return directory.path / "command";
    }
};

struct command_fixture : command, access_fixture
{
    command_fixture() : access_fixture(shared_daemon(), "qemu+ext:///session?command=" + script().string()) {}
};

struct system_daemon
{
    support::libvirtd own{support::libvirtd::kind::system};
};

struct system_fixture : system_daemon, access_fixture
{
    system_fixture() : access_fixture(own) {}
};

boost::test_tools::assertion_result can_be_system(boost::unit_test::test_unit_id)
{
    return support::libvirtd::can_be_system();
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_tcp, tcp_fixture)

BOOST_DATA_TEST_CASE(upload_and_download, data::make({1000, 65536, 262144}), size)
{
    copy(static_cast<std::size_t>(size));
}

BOOST_AUTO_TEST_CASE(a_console)
{
    converse();
}

BOOST_DATA_TEST_CASE(a_write_to_a_stopped_daemon, data::make({true, false}), cancel)
{
    write_while_it_is_stopped(cancel);
}

BOOST_AUTO_TEST_CASE(a_call_to_a_stopped_daemon)
{
    call_while_it_is_stopped();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_command, command_fixture)

BOOST_AUTO_TEST_CASE(transfers_and_a_console)
{
    copy(262144);
    converse();
}

BOOST_AUTO_TEST_CASE(a_write_to_a_stopped_daemon)
{
    const std::string much(32 * 1024 * 1024, 'x');
    asio::cancellation_signal signal;
    outcome written;
    start_write_to_stopped(much, signal, written);
    run_until([&] { return loop.stats().watches >= 2; });
    check_cancellation(signal, written);
}

BOOST_AUTO_TEST_CASE(a_call_to_a_stopped_daemon)
{
    call_while_it_is_stopped();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(remote_system, *boost::unit_test::precondition(can_be_system))

BOOST_FIXTURE_TEST_CASE(transfers_and_a_console, system_fixture)
{
    BOOST_TEST(conn.is_open());
    copy(262144);
    converse();
}

BOOST_AUTO_TEST_SUITE_END()
