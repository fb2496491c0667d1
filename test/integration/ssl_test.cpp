// SPDX-License-Identifier: BSL-1.0
#include "peer_fixture.hpp"

#include <support/certificates.hpp>
#include <support/temporary_directory.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <cstddef>
#include <string>

// TLS over a libvirt stream, by Asio, with a server at its other end.

namespace {

namespace ssl = asio::ssl;

struct ssl_fixture : peer_fixture
{
    ssl_fixture()
    {
        const auto& d = directory.path;
        support::make_certificates(d);
        server_context.use_certificate_file(d / "servercert.pem", ssl::context::pem);
        server_context.use_private_key_file(d / "serverkey.pem", ssl::context::pem);
        client_context.load_verify_file(d / "cacert.pem");
        client_context.set_verify_mode(ssl::verify_peer);
    }

    const support::temporary_directory directory{"/tmp/avirt-ssl-"};
    ssl::context server_context{ssl::context::tls_server};
    ssl::context client_context{ssl::context::tls_client};
};

BOOST_FIXTURE_TEST_SUITE(ssl_stream, ssl_fixture)

BOOST_AUTO_TEST_CASE(handshake_echo_and_shutdown)
{
    const std::string text(1 << 20, 't');
    error_code server_saw;
    serve([&](socket& s) {
        ssl::stream<socket&> peer(s, server_context);
        peer.handshake(ssl::stream_base::server);
        std::string received(text.size(), '\0');
        asio::read(peer, asio::buffer(received));
        asio::write(peer, asio::buffer(received));
        char more = 0;
        peer.read_some(asio::buffer(&more, 1), server_saw);
        peer.shutdown();
    });
    ssl::stream<avirt::async_stream> tls(std::move(stream), client_context);
    tls.set_verify_callback(ssl::host_name_verification("127.0.0.1"));
    run_client([&]() -> asio::awaitable<void> {
        co_await tls.async_handshake(ssl::stream_base::client, asio::use_awaitable);
        co_await asio::async_write(tls, asio::buffer(text), asio::use_awaitable);
        std::string received(text.size(), '\0');
        co_await asio::async_read(tls, asio::buffer(received), asio::use_awaitable);
        BOOST_TEST((received == text));
        // The server has answered, so everything was seen on its way. A record of TLS is a packet.
        const auto sent = packets();
        const auto is_record = [](std::size_t size) { return size > 16u * 1024; };
        BOOST_TEST(
            std::count_if(sent.begin(), sent.end(), is_record) == std::ptrdiff_t(text.size() / (16 * 1024)));
        co_await tls.async_shutdown(asio::use_awaitable);
        co_await tls.lowest_layer().async_finish(asio::use_awaitable);
    });
    BOOST_TEST(server_saw == asio::error::eof); // Not stream_truncated.
    BOOST_TEST(!tls.next_layer().is_open());
}

BOOST_AUTO_TEST_CASE(a_certificate_for_another_host)
{
    error_code server_saw;
    serve([&](socket& s) {
        ssl::stream<socket&> peer(s, server_context);
        peer.handshake(ssl::stream_base::server, server_saw);
    });
    ssl::stream<avirt::async_stream> tls(std::move(stream), client_context);
    tls.set_verify_callback(ssl::host_name_verification("another.example"));
    outcome done;
    tls.async_handshake(ssl::stream_base::client, done.handler());
    run_until_done(done);
    BOOST_TEST((done.ec().category() == asio::error::get_ssl_category()));
    tls.next_layer().close();
    wait_for_server();
    BOOST_TEST(server_saw);
}

BOOST_AUTO_TEST_CASE(a_peer_that_ends_without_a_shutdown)
{
    serve([&](socket& s) {
        ssl::stream<socket&> peer(s, server_context);
        peer.handshake(ssl::stream_base::server);
        s.close();
    });
    ssl::stream<avirt::async_stream> tls(std::move(stream), client_context);
    outcome done, read;
    tls.async_handshake(ssl::stream_base::client, done.handler());
    run_until_done(done);
    BOOST_TEST(done.ec() == error_code());
    char c = 0;
    tls.async_read_some(asio::buffer(&c, 1), read.handler());
    run_until_done(read);
    BOOST_TEST((read.ec() == ssl::error::stream_truncated));
    wait_for_server();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
