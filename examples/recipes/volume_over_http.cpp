// SPDX-License-Identifier: BSL-1.0
//
// Serves the volumes of a host over HTTP. It listens on 127.0.0.1, because clients are not authenticated.
//
//     volume_over_http PORT [URI]      port 0 is any free port
//
//     GET /POOL/VOLUME                 curl -o disk.img localhost:PORT/default/disk.img
//     PUT /POOL/VOLUME                 curl -T disk.img localhost:PORT/default/disk.img
//
// A PUT writes to an existing volume, from its beginning on; what it does not reach stays as it is.

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/lexical_cast.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

using request_parser = http::request_parser<http::buffer_body>; // The body is read in pieces.
using response = http::response<http::string_body>;

const auto throwing = avirt::with_details(asio::use_awaitable); // The exception contains libvirt's message.
constexpr auto client_limit = 1min; // for a client to send something, or to take what it is sent

asio::awaitable<void> download(
    beast::tcp_stream& client, avirt::connection& connection, const avirt::volume_locator& volume)
{
    const auto info = co_await avirt::async_volume_info(connection, volume, throwing);
    avirt::volume_download whole{volume};
    whole.sparse = true; // Holes become zeros here, and not on the way from the host.
    avirt::async_stream content{client.get_executor()};
    co_await content.async_open(connection, whole, throwing);

    http::response<http::empty_body> header{http::status::ok, 11};
    header.set(http::field::content_type, "application/octet-stream");
    header.content_length(info.physical);
    header.keep_alive(false);
    http::response_serializer<http::empty_body> serializer{header};
    client.expires_after(client_limit);
    co_await http::async_write_header(client, serializer, asio::use_awaitable);

    // A failure can no longer be reported as a status: the client gets fewer bytes than it was told.
    avirt::transfer_options options;
    options.on_progress = [&client](const avirt::progress&) { client.expires_after(client_limit); };
    auto [ec, sent] =
        co_await avirt::async_receive_all(content, client, options, asio::as_tuple(asio::use_awaitable));
    if (ec)
        std::cerr << "a download ended after " << sent.bytes << " bytes: " << ec.message() << '\n';
}

asio::awaitable<void> upload(
    beast::tcp_stream& client, beast::flat_buffer& buffer, request_parser& request,
    avirt::connection& connection, const avirt::volume_locator& volume)
{
    auto room = (co_await avirt::async_volume_info(connection, volume, throwing)).capacity;
    if (request.content_length().value_or(0) > room)
        throw boost::system::system_error(asio::error::message_size, "the volume is too small");
    avirt::async_stream content{client.get_executor()};
    co_await content.async_open(connection, avirt::volume_upload{volume}, throwing);

    if (beast::iequals(request.get()[http::field::expect], "100-continue")) {
        const http::response<http::empty_body> go_on{http::status::continue_, 11};
        co_await http::async_write(client, go_on, asio::use_awaitable);
    }
    std::vector<std::byte> memory(256 * 1024);
    while (!request.is_done()) { // The client is read again when libvirt has taken what came before.
        request.get().body().data = memory.data();
        request.get().body().size = memory.size();
        client.expires_after(client_limit);
        auto [ec, read] =
            co_await http::async_read(client, buffer, request, asio::as_tuple(asio::use_awaitable));
        if (ec && ec != http::error::need_buffer)
            throw boost::system::system_error(ec);
        const auto size = memory.size() - request.get().body().size;
        if (size > room)
            throw boost::system::system_error(asio::error::message_size, "the volume is too small");
        room -= size;
        co_await asio::async_write(content, asio::buffer(memory, size), avirt::transfer_packets(), throwing);
    }
    co_await content.async_finish(throwing); // Not before this is it known that the host has everything.
}

http::status status_of(const error_code& ec)
{
    using avirt::condition;
    using boost::system::errc::invalid_argument; // an empty name
    using http::status;
    return ec == condition::not_found      ? status::not_found
        : ec == invalid_argument           ? status::not_found
        : ec == condition::denied          ? status::forbidden
        : ec == condition::busy            ? status::conflict
        : ec == condition::no_space        ? status::insufficient_storage
        : ec == condition::timed_out       ? status::gateway_timeout
        : ec == condition::connection_lost ? status::service_unavailable
        : ec == asio::error::message_size  ? status::payload_too_large
                                           : status::bad_gateway;
}

/// Returns what is to be sent to the client, unless that has been done.
asio::awaitable<std::optional<response>> answer(
    beast::tcp_stream& client, beast::flat_buffer& buffer, request_parser& request, std::string uri)
{
    const auto method = request.get().method();
    if (method != http::verb::get && method != http::verb::put) {
        response refusal{http::status::method_not_allowed, 11};
        refusal.set(http::field::allow, "GET, PUT");
        co_return refusal;
    }
    const std::string target = request.get().target();
    const auto slash = target.find('/', 1);
    if (slash == target.npos)
        co_return response{http::status::not_found, 11, "/POOL/VOLUME\n"};
    const avirt::volume_locator volume{target.substr(1, slash - 1), target.substr(slash + 1)};
    try {
        avirt::connection connection{client.get_executor()};
        avirt::error_details why;
        auto [ec] = co_await connection.async_open(
            uri, avirt::with_details(asio::as_tuple(asio::use_awaitable), why));
        if (ec)
            co_return response{http::status::service_unavailable, 11, why.message + '\n'};
        if (method == http::verb::put) {
            co_await upload(client, buffer, request, connection, volume);
            co_return response{http::status::no_content, 11};
        }
        co_await download(client, connection, volume);
        co_return std::nullopt;
    }
    catch (const boost::system::system_error& e) {
        co_return response{status_of(e.code()), 11, std::string(e.what()) + '\n'};
    }
}

/// Each connection of a client carries one request. The function ends with an exception if the client leaves,
/// is too slow or does not speak HTTP.
asio::awaitable<void> serve(beast::tcp_stream client, std::string uri)
{
    beast::flat_buffer buffer;
    request_parser request;
    request.body_limit(boost::none);
    client.expires_after(client_limit);
    co_await http::async_read_header(client, buffer, request, asio::use_awaitable);
    auto given = co_await answer(client, buffer, request, uri);
    if (!given)
        co_return;
    given->keep_alive(false);
    given->prepare_payload();
    client.expires_after(client_limit);
    co_await http::async_write(client, *given, asio::use_awaitable);

    // A client that has not sent everything yet could miss the answer if its connection were cut.
    client.socket().shutdown(tcp::socket::shutdown_send);
    client.expires_after(10s);
    const auto drop = [](asio::const_buffer) {};
    co_await avirt::async_receive_all(client, drop, {}, asio::use_awaitable);
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, std::string uri)
{
    for (;;) {
        beast::tcp_stream client{co_await acceptor.async_accept(asio::use_awaitable)};
        asio::co_spawn(acceptor.get_executor(), serve(std::move(client), uri), asio::detached);
    }
}

int main(int argc, char* argv[])
try {
    if (argc < 2 || argc > 3) {
        std::cerr << "usage: volume_over_http PORT [URI]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    const auto port = boost::lexical_cast<asio::ip::port_type>(argv[1]);
    tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), port}};
    std::cout << "listening on " << acceptor.local_endpoint() << std::endl;
    auto result = asio::co_spawn(io, accept(acceptor, argc > 2 ? argv[2] : ""), asio::use_future);
    io.run();
    result.get();
}
catch (const std::exception& e) {
    std::cerr << "volume_over_http: " << e.what() << '\n';
    return 1;
}
