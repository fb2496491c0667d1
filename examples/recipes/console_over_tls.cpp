// SPDX-License-Identifier: BSL-1.0
//
// Serves a guest's console over TLS, to one client at a time. Clients have to present a certificate of the
// same authority as the server's.
//
//     console_over_tls PORT DIRECTORY DOMAIN [URI]
//
// DIRECTORY contains cacert.pem, servercert.pem and serverkey.pem; port 0 is any free port. A client:
//
//     openssl s_client -quiet -connect HOST:PORT -CAfile cacert.pem -cert clientcert.pem -key clientkey.pem

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/lexical_cast.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using namespace std::chrono_literals;

const auto throwing = avirt::with_details(asio::use_awaitable); // The exception contains libvirt's message.
const auto soon = avirt::cancel_after(10s, asio::use_awaitable);

asio::awaitable<void> serve(ssl::stream<tcp::socket>& client, std::string domain, std::string uri)
{
    co_await client.async_handshake(ssl::stream_base::server, soon);

    avirt::connection connection{client.get_executor()};
    co_await connection.async_open(uri, throwing);
    avirt::async_stream console{client.get_executor()};
    co_await console.async_open(connection, avirt::console{domain}, throwing);

    auto [ec, received, sent] =
        co_await avirt::async_relay(client, console, asio::as_tuple(asio::use_awaitable));
    std::cout << "relayed " << received << " bytes from the client and " << sent << " to it" << std::endl;
    co_await console.async_finish(soon); // Afterwards the daemon accepts the next client's open.
    if (ec)
        throw boost::system::system_error(ec);
    co_await client.async_shutdown(soon);
}

asio::awaitable<void> accept(
    tcp::acceptor& acceptor, ssl::context& context, std::string domain, std::string uri)
{
    for (;;) {
        auto socket = co_await acceptor.async_accept(asio::use_awaitable);
        ssl::stream<tcp::socket> client{std::move(socket), context};
        try {
            co_await serve(client, domain, uri);
        }
        catch (const std::exception& e) {
            std::cout << "a client's session failed: " << e.what() << std::endl;
        }
    }
}

int main(int argc, char* argv[])
try {
    if (argc < 4 || argc > 5) {
        std::cerr << "usage: console_over_tls PORT DIRECTORY DOMAIN [URI]\n";
        return 2;
    }
    const std::string directory = argv[2];
    ssl::context context{ssl::context::tls_server};
    context.use_certificate_chain_file(directory + "/servercert.pem");
    context.use_private_key_file(directory + "/serverkey.pem", ssl::context::pem);
    context.load_verify_file(directory + "/cacert.pem");
    context.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);

    asio::io_context io;
    avirt::event_loop loop{io};
    tcp::acceptor acceptor{io, {tcp::v4(), boost::lexical_cast<asio::ip::port_type>(argv[1])}};
    std::cout << "listening on " << acceptor.local_endpoint() << std::endl;
    auto result =
        asio::co_spawn(io, accept(acceptor, context, argv[3], argc > 4 ? argv[4] : ""), asio::use_future);
    io.run();
    result.get();
}
catch (const std::exception& e) {
    std::cerr << "console_over_tls: " << e.what() << '\n';
    return 1;
}
