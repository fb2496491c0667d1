// SPDX-License-Identifier: BSL-1.0
#include "access_fixture.hpp"

#include <support/sshd.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include <cerrno>
#include <cstdlib>

// A daemon behind SSH: libvirt runs ssh, which runs a program on the remote host that connects to the
// daemon's socket.

namespace {

namespace data = boost::unit_test::data;

/// The program on the remote host: libvirt's own, which finds the daemon as any client does, or one that is
/// called like netcat.
enum class proxy { native, netcat };

struct ssh_host
{
    support::sshd own{shared_daemon().directory()};
    std::filesystem::path netcat = own.client().parent_path() / "netcat";

    ssh_host()
    {
        // libvirt first runs it to find out which options it has.
        std::ofstream(netcat) << "#!/bin/sh\ntest \"$1\" = -U && exec " SOCKET_BRIDGE " \"$2\"\n";
        std::filesystem::permissions(netcat, std::filesystem::perms(0755));
    }

    std::string uri(proxy p, const std::filesystem::path& client) const
    {
        const auto common = "qemu+ssh://" + own.authority() + "/session?command=" + client.string()
            + "&keyfile=" + own.key().string() + "&no_tty=1";
        if (p == proxy::native)
            return common + "&proxy=native";
        return common + through_netcat();
    }

    /// A URI for one of the SSH libraries that libvirt supports, in place of ssh.
    std::string uri(const std::string& library) const
    {
        return "qemu+" + library + "://" + own.authority() + "/session?keyfile=" + own.key().string()
            + "&sshauth=privkey&known_hosts_verify=ignore" + through_netcat();
    }

    std::string through_netcat() const
    {
        return "&proxy=netcat&netcat=" + netcat.string() + "&socket=" + shared_daemon().socket().string();
    }
};

ssh_host& shared_host()
{
    static ssh_host host;
    return host;
}

template <proxy Proxy>
struct ssh_fixture : access_fixture
{
    ssh_fixture() : access_fixture(shared_daemon(), shared_host().uri(Proxy, shared_host().own.client())) {}

    void copy_and_converse()
    {
        copy(1000);
        copy(262144);
        converse();
    }
};

using native_fixture = ssh_fixture<proxy::native>;
using netcat_fixture = ssh_fixture<proxy::netcat>;

struct libssh_fixture : access_fixture
{
    libssh_fixture() : access_fixture(shared_daemon(), shared_host().uri("libssh")) {}
};

struct libssh2_fixture : access_fixture
{
    libssh2_fixture() : access_fixture(shared_daemon(), shared_host().uri("libssh2")) {}
};

struct failing_host_fixture : ssh_host, access_fixture
{
    failing_host_fixture() : access_fixture(shared_daemon(), ssh_host::uri(proxy::netcat, own.client())) {}
};

boost::test_tools::assertion_result can_run_sshd(boost::unit_test::test_unit_id)
{
    boost::test_tools::assertion_result result(support::sshd::obstacle().empty());
    result.message() << support::sshd::obstacle();
    return result;
}

boost::test_tools::assertion_result has_helper(boost::unit_test::test_unit_id)
{
    boost::test_tools::assertion_result result(
        std::system("command -v virt-ssh-helper >/dev/null") == 0); // NOLINT(cert-env33-c)
    result.message() << "virt-ssh-helper is not installed";
    return result;
}

/// Whether libvirt was built with the library, and the daemon survives its use.
auto libvirt_has(const std::string& library)
{
    return [library](boost::unit_test::test_unit_id) {
        std::ifstream maps("/proc/self/maps");
        const std::string loaded{std::istreambuf_iterator<char>(maps), {}};
        const bool has = loaded.find("/" + library + ".so") != std::string::npos;
        boost::test_tools::assertion_result result(has && !support::libvirtd::is_11_3());
        result.message()
            << (has ? "the libvirtd of libvirt 11.3 hangs afterwards"
                    : "libvirt was built without the library");
        return result;
    };
}

} // namespace

BOOST_AUTO_TEST_SUITE(remote_ssh, *boost::unit_test::precondition(can_run_sshd))

BOOST_FIXTURE_TEST_CASE(with_libvirts_helper, native_fixture, *boost::unit_test::precondition(has_helper))
{
    copy_and_converse();
}

BOOST_FIXTURE_TEST_CASE(with_netcat, netcat_fixture)
{
    copy_and_converse();
}

// With the SSH libraries, writes wait for a daemon that takes nothing (docs/libvirt.md, "Sending"), but all
// other operations do not.
BOOST_FIXTURE_TEST_CASE(with_libssh, libssh_fixture, *boost::unit_test::precondition(libvirt_has("libssh")))
{
    copy(262144);
    converse();
    stream.close();
    call_while_it_is_stopped();
}

BOOST_FIXTURE_TEST_CASE(
    with_libssh2, libssh2_fixture, *boost::unit_test::precondition(libvirt_has("libssh2")))
{
    copy(262144);
    converse();
    stream.close();
    call_while_it_is_stopped();
}

BOOST_DATA_TEST_CASE_F(netcat_fixture, a_write_to_a_stopped_daemon, data::make({true, false}), cancel)
{
    write_while_it_is_stopped(cancel);
}

BOOST_FIXTURE_TEST_CASE(a_call_to_a_stopped_daemon, netcat_fixture)
{
    call_while_it_is_stopped();
}

BOOST_FIXTURE_TEST_CASE(the_host_fails, failing_host_fixture)
{
    start_guest("echo", avirt_demo_guest);
    open_stream(console("echo"));
    std::string text(16, '\0');
    outcome read, called;
    stream.async_read_some(asio::buffer(text), read.handler());
    own.stop();
    run_until_done(read);
    BOOST_TEST(bool(read.ec() == avirt::condition::connection_lost));
    conn.async_call(virConnectNumOfDomains, called.handler());
    run_until_done(called);
    BOOST_TEST(bool(called.ec() == avirt::condition::connection_lost));
}

BOOST_FIXTURE_TEST_CASE(an_unknown_host_key, support::loop_fixture)
{
    avirt::connection conn{io};
    avirt::error_details details;
    outcome opened;
    conn.async_open(
        shared_host().uri(proxy::netcat, shared_host().own.client_that_is_new()),
        avirt::with_details(opened.handler(), details));
    run_until([&] { return opened.calls() > 0; });
    BOOST_TEST(opened.ec() == error_code(ECONNRESET, boost::system::system_category()));
    BOOST_TEST(!conn.is_open());
    BOOST_TEST_INFO(details.message);
    // ssh's message.
    BOOST_TEST(details.message.find("Host key verification failed") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
