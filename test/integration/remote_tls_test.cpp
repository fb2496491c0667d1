// SPDX-License-Identifier: BSL-1.0
#include "access_fixture.hpp"

#include <support/certificates.hpp>
#include <support/temporary_directory.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

// A daemon behind TLS, and clients that do not trust it or that it does not trust.

namespace {

namespace data = boost::unit_test::data;

support::libvirtd& tls_daemon()
{
    static support::libvirtd daemon(support::libvirtd::kind::session_over_tls);
    return daemon;
}

struct tls_fixture : access_fixture
{
    tls_fixture() : access_fixture(tls_daemon()) {}
};

/// A client with certificates from another authority.
struct stranger
{
    const support::temporary_directory directory{"/tmp/avirt-stranger-"};

    stranger()
    {
        support::make_certificates(directory.path);
    }

    void copy_from_daemon(const std::string& certificate)
    {
        using std::filesystem::copy_options;
        std::filesystem::copy(
            tls_daemon().certificates() / certificate, directory.path / certificate,
            copy_options::overwrite_existing);
    }
};

struct stranger_fixture : stranger, support::loop_fixture
{
    avirt::connection conn{io};
    avirt::error_details details;

    error_code open()
    {
        outcome opened;
        const auto uri = "qemu+tls://127.0.0.1:" + std::to_string(tls_daemon().port())
            + "/session?pkipath=" + directory.path.string();
        conn.async_open(uri, avirt::with_details(opened.handler(), details));
        run_until([&] { return opened.calls() > 0; });
        BOOST_TEST(!conn.is_open());
        return opened.ec();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_tls, tls_fixture)

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

BOOST_FIXTURE_TEST_SUITE(remote_tls_strangers, stranger_fixture)

BOOST_AUTO_TEST_CASE(the_server_is_not_trusted)
{
    const auto ec = open();
    BOOST_TEST(ec == error_code(VIR_ERR_AUTH_FAILED, avirt::libvirt_category()));
    BOOST_TEST(bool(ec == avirt::condition::denied));
    BOOST_TEST(details.message == "authentication failed: Failed to verify peer's certificate");
}

BOOST_AUTO_TEST_CASE(the_client_has_a_certificate_from_another_authority)
{
    copy_from_daemon("cacert.pem");
    BOOST_TEST(bool(open()));
    // libvirt rejects its own certificate, without asking the server.
    BOOST_TEST_INFO(details.message);
    BOOST_TEST(details.message.find(directory.path / "clientcert.pem") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_client_has_no_certificate)
{
    copy_from_daemon("cacert.pem");
    std::filesystem::remove(directory.path / "clientcert.pem");
    std::filesystem::remove(directory.path / "clientkey.pem");
    // The server closes the connection instead of sending its confirmation.
    BOOST_TEST(bool(open()));
    BOOST_TEST_INFO(details.message);
    BOOST_TEST(details.message.find("TLS confirmation") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
