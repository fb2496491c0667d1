// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"
#include "serving_example.hpp"

#include <support/certificates.hpp>
#include <support/eventually.hpp>
#include <support/libvirtd.hpp>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

// Runs the recipe console_over_tls.

namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;

struct tls_fixture
{
    support::libvirtd daemon;
    domains all{daemon};
    const std::filesystem::path directory = daemon.directory() / "tls";
    std::optional<serving_example> server;
    asio::io_context io;
    ssl::context context{ssl::context::tls_client};

    tls_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        std::filesystem::create_directory(directory);
        support::make_certificates(directory);
        context.load_verify_file(directory / "cacert.pem");
        context.set_verify_mode(ssl::verify_peer);
        all.connect();
        all.define("vm");
        all.change("vm", virDomainCreate);
        server.emplace(
            CONSOLE_OVER_TLS, std::vector<std::string>{"0", directory, "vm", daemon.uri()},
            daemon.directory() / "output");
    }

    void present_certificate()
    {
        context.use_certificate_file(directory / "clientcert.pem", ssl::context::pem);
        context.use_private_key_file(directory / "clientkey.pem", ssl::context::pem);
    }

    bool prints(const std::string& text) const
    {
        return support::eventually([&] { return server->has_printed(text); });
    }
};

/// A client whose functions block.
class tls_client
{
public:
    explicit tls_client(tls_fixture& f) : stream_(f.io, f.context)
    {
        stream_.next_layer().connect({asio::ip::address_v4::loopback(), f.server->port()});
    }

    void shake_hands()
    {
        stream_.handshake(ssl::stream_base::client);
    }

    /// Writes the text, and waits until the guest has given it back.
    void converse(const std::string& text)
    {
        asio::write(stream_, asio::buffer(text));
        std::string received;
        asio::read_until(stream_, asio::dynamic_buffer(received), text);
    }

    error_code read_to_end()
    {
        std::string received;
        error_code ec;
        asio::read(stream_, asio::dynamic_buffer(received), ec);
        return ec;
    }

    error_code shut_down()
    {
        error_code ec;
        stream_.shutdown(ec);
        return ec;
    }

private:
    ssl::stream<tcp::socket> stream_;
};

BOOST_FIXTURE_TEST_SUITE(console_over_tls, tls_fixture)

BOOST_AUTO_TEST_CASE(one_client_after_the_other)
{
    present_certificate();
    tls_client first(*this), second(*this);
    first.shake_hands();
    first.converse("hello");
    BOOST_TEST(first.shut_down() == error_code());
    BOOST_TEST(prints("relayed 5 bytes from the client"), server->printed());
    second.shake_hands();
    second.converse("hello again");
}

BOOST_AUTO_TEST_CASE(a_client_that_is_cut_off)
{
    present_certificate();
    std::optional<tls_client> first(*this);
    first->shake_hands();
    first->converse("hello");
    first.reset();
    BOOST_TEST(prints("a client's session failed: "), server->printed());
    tls_client second(*this);
    second.shake_hands();
    second.converse("hello again");
}

BOOST_AUTO_TEST_CASE(the_guest_ends)
{
    present_certificate();
    tls_client client(*this);
    client.shake_hands();
    client.converse("hello");
    all.change("vm", virDomainDestroy);
    BOOST_TEST(client.read_to_end() == asio::error::eof); // and not stream_truncated
    BOOST_TEST(client.shut_down() == error_code());

    tls_client next(*this);
    next.shake_hands();
    BOOST_TEST(next.read_to_end() == ssl::error::stream_truncated);
    BOOST_TEST(prints("domain is not running"), server->printed());
}

BOOST_AUTO_TEST_CASE(a_client_without_a_certificate)
{
    tls_client client(*this);
    client.shake_hands(); // The client's part of it, which ends first.
    BOOST_TEST(client.read_to_end() != asio::error::eof);
    BOOST_TEST(prints("a client's session failed: "), server->printed());
    BOOST_TEST(!server->has_printed("relayed"), server->printed());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
