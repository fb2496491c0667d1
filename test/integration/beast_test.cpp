// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"
#include "peer_fixture.hpp"

#include <avirt/beast.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <numeric>
#include <string>

#include <sys/socket.h>

// HTTP and WebSocket over a libvirt stream, by Beast, with a Beast server at its other end.

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using namespace std::chrono_literals;
using client_socket = websocket::stream<avirt::async_stream>;
using server_socket =
    websocket::stream<peer_fixture::socket&, false>; // Without compression: it compiles faster.

/// Answers each request with its body, in chunks if the request came in chunks, until the client closes.
void echo_requests(peer_fixture::socket& socket)
{
    beast::flat_buffer buffer;
    for (;;) {
        http::request<http::string_body> request;
        error_code ec;
        http::read(socket, buffer, request, ec);
        if (ec == http::error::end_of_stream)
            return;
        if (ec)
            throw beast::system_error(ec);
        http::response<http::string_body> response(http::status::ok, request.version());
        response.set("X-Target", request.target());
        response.body() = std::move(request.body());
        response.chunked(request.chunked());
        if (!request.chunked())
            response.prepare_payload();
        http::write(socket, response);
    }
}

http::request<http::string_body> make_request(const std::string& target, std::string body)
{
    http::request<http::string_body> request(http::verb::post, target, 11);
    request.set(http::field::host, "guest");
    request.set(http::field::user_agent, "avirt");
    request.set(http::field::content_type, "text/plain");
    request.body() = std::move(body);
    request.prepare_payload();
    return request;
}

/// Answers each message with the message itself, until the client closes the connection.
void echo_messages(peer_fixture::socket& socket)
{
    server_socket ws(socket);
    ws.write_buffer_bytes(64 * 1024);
    ws.accept();
    for (;;) {
        beast::flat_buffer buffer;
        error_code ec;
        ws.read(buffer, ec);
        if (ec == websocket::error::closed)
            return;
        if (ec)
            throw beast::system_error(ec);
        ws.binary(ws.got_binary());
        ws.write(buffer.data());
    }
}

/// Sends the frame with which a server closes normally.
void send_close(peer_fixture::socket& socket)
{
    asio::write(socket, asio::buffer("\x88\x02\x03\xe8", 4));
}

/// A server that reads, and never answers.
void stay_silent(peer_fixture::socket& socket)
{
    std::string all;
    error_code ec;
    asio::read(socket, asio::dynamic_buffer(all), ec);
}

BOOST_FIXTURE_TEST_SUITE(beast_http, peer_fixture)

BOOST_AUTO_TEST_CASE(requests_on_one_connection)
{
    serve(echo_requests);
    run_client([this]() -> asio::awaitable<void> {
        beast::flat_buffer buffer;
        for (const std::size_t size : {0u, 5u, 4000u, 1u << 20}) {
            const auto request = make_request("/" + std::to_string(size), std::string(size, 'x'));
            co_await http::async_write(stream, request, asio::use_awaitable);
            http::response_parser<http::string_body> response;
            response.body_limit(2u << 20);
            co_await http::async_read(stream, buffer, response, asio::use_awaitable);
            BOOST_TEST(response.get().result_int() == 200u);
            BOOST_TEST(response.get()["X-Target"] == request.target());
            BOOST_TEST((response.get().body() == request.body()));
            const auto sent = packets();
            if (size < 5000)
                BOOST_TEST(sent.size() == 1u); // The header's many buffers and the body in one packet.
            else
                BOOST_TEST(*std::max_element(sent.begin(), sent.end()) > 200'000u);
        }
        co_await stream.async_finish(asio::use_awaitable);
    });
}

BOOST_AUTO_TEST_CASE(a_header_of_many_fields)
{
    serve(echo_requests);
    run_client([this]() -> asio::awaitable<void> {
        auto request = make_request("/", std::string(5000, 'x'));
        for (int i = 0; i < 40; ++i)
            request.set("X-Field-" + std::to_string(i), std::string(50, 'f'));
        co_await http::async_write(stream, request, asio::use_awaitable);
        beast::flat_buffer buffer;
        http::response<http::string_body> response;
        co_await http::async_read(stream, buffer, response, asio::use_awaitable);
        BOOST_TEST((response.body() == request.body()));
        BOOST_TEST(packets().size() == 1u); // Each of the fields is a buffer.
        co_await stream.async_finish(asio::use_awaitable);
    });
}

BOOST_AUTO_TEST_CASE(chunks)
{
    serve(echo_requests);
    run_client([this]() -> asio::awaitable<void> {
        beast::flat_buffer buffer;
        for (int i = 0; i < 3; ++i) {
            auto request = make_request("/chunked", std::string(3000, 'y'));
            request.chunked(true);
            co_await http::async_write(stream, request, asio::use_awaitable);
            http::response<http::string_body> response;
            co_await http::async_read(stream, buffer, response, asio::use_awaitable);
            BOOST_TEST(response.chunked());
            BOOST_TEST((response.body() == request.body()));
            BOOST_TEST(packets().size() == 1u);
        }
        co_await stream.async_finish(asio::use_awaitable);
    });
}

BOOST_AUTO_TEST_CASE(a_timeout_for_each_operation)
{
    serve(stay_silent);
    const auto request = make_request("/", "hello");
    outcome written;
    http::async_write(stream, request, avirt::cancel_after(1h, written.handler()));
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    outcome read;
    http::async_read(stream, buffer, response, avirt::cancel_after(1ns, read.handler()));
    run_until_done(read);
    BOOST_TEST(read.ec() == aborted);
    BOOST_TEST(stream.is_open());
    run_client([&]() -> asio::awaitable<void> {
        http::response<http::string_body> other;
        const auto [ec, n] = co_await http::async_read(
            stream, buffer, other, avirt::cancel_after(1ns, asio::as_tuple(asio::use_awaitable)));
        BOOST_TEST(ec == aborted);
        BOOST_TEST(n == 0u);
        co_await stream.async_finish(asio::use_awaitable);
    });
}

BOOST_AUTO_TEST_CASE(a_lost_connection_has_details)
{
    serve(stay_silent);
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    outcome read;
    avirt::error_details details;
    http::async_read(stream, buffer, response, avirt::with_details(read.handler(), details));
    between.cut_latest();
    run_until_done(read);
    BOOST_TEST(read.ec() == avirt::condition::connection_lost);
    BOOST_TEST(!details.message.empty());
    wait_for_server();
}

BOOST_AUTO_TEST_SUITE_END()

/// Whether the daemon, which is of the same release as the library, survives it if it cannot pass on what
/// a client writes (docs/libvirt.md, "What the daemon of libvirt 11.3 does not survive").
boost::test_tools::assertion_result daemon_survives_failed_writes(boost::unit_test::test_unit_id)
{
    unsigned long version = 0;
    virGetVersion(&version, nullptr, nullptr);
    return version < 9'001'000 || version >= 12'008'000;
}

BOOST_FIXTURE_TEST_SUITE(beast_websocket, peer_fixture)

BOOST_AUTO_TEST_CASE(messages_and_close)
{
    serve(echo_messages);
    client_socket ws(std::move(stream));
    ws.write_buffer_bytes(64 * 1024 - 8); // asio::async_write passes 64 KiB, 8 of them for a frame's header.
    run_client([&]() -> asio::awaitable<void> {
        co_await ws.async_handshake("guest", "/", asio::use_awaitable);
        BOOST_TEST(packets().size() == 1u);
        ws.binary(true);
        for (const std::size_t size : {0u, 5u, 1000u, 1u << 20}) {
            const std::string message(size, 'x');
            co_await ws.async_write(asio::buffer(message), asio::use_awaitable);
            beast::flat_buffer answer;
            co_await ws.async_read(answer, asio::use_awaitable);
            BOOST_TEST((beast::buffers_to_string(answer.data()) == message));
            const auto sent = packets();
            if (size < 5000)
                BOOST_TEST(sent.size() == 1u);
            else
                BOOST_TEST(sent.front() == 64u * 1024); // The frame's header and its payload.
        }
        co_await ws.async_close(websocket::close_code::normal, asio::use_awaitable);
    });
    BOOST_TEST(!ws.next_layer().is_open());
}

BOOST_AUTO_TEST_CASE(what_was_sent_before_the_close_arrives)
{
    std::string received;
    serve([&](socket& s) {
        server_socket(s).accept();
        send_close(s);
        ended.entry()();
        error_code ec;
        asio::read(s, asio::dynamic_buffer(received), ec);
    });
    client_socket ws(std::move(stream));
    ws.write_buffer_bytes(512 * 1024);
    const std::string message(400 * 1024, 'z'); // Too much for the buffers between the daemon and the server.
    run_client([&]() -> asio::awaitable<void> {
        co_await ws.async_handshake("guest", "/", asio::use_awaitable);
        packets();
        co_await ws.async_write(asio::buffer(message), asio::use_awaitable);
        beast::flat_buffer buffer;
        const auto [ec, n] = co_await ws.async_read(buffer, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST((ec == websocket::error::closed));
    });
    const auto sent = packets();
    BOOST_TEST(received.size() > message.size());
    BOOST_TEST(received.size() == std::accumulate(sent.begin(), sent.end(), std::size_t{0}));
}

BOOST_AUTO_TEST_CASE(closed_by_the_peer)
{
    serve([](socket& s) {
        server_socket ws(s);
        ws.accept();
        ws.write(asio::buffer("bye", 3));
        ws.close(websocket::close_code::going_away); // Throws unless the client answers.
    });
    client_socket ws(std::move(stream));
    run_client([&]() -> asio::awaitable<void> {
        co_await ws.async_handshake("guest", "/", asio::use_awaitable);
        beast::flat_buffer buffer;
        co_await ws.async_read(buffer, asio::use_awaitable);
        const auto [ec, n] = co_await ws.async_read(buffer, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST((ec == websocket::error::closed));
        BOOST_TEST(n == 0u);
    });
    BOOST_TEST(ws.reason().code == websocket::close_code::going_away);
    BOOST_TEST(!ws.next_layer().is_open());
}

BOOST_AUTO_TEST_CASE(the_timeout_of_a_handshake_closes_the_stream)
{
    serve(stay_silent);
    client_socket ws(std::move(stream));
    ws.set_option(websocket::stream_base::timeout{1ms, websocket::stream_base::none(), false});
    run_client([&]() -> asio::awaitable<void> {
        const auto [ec] = co_await ws.async_handshake("guest", "/", asio::as_tuple(asio::use_awaitable));
        BOOST_TEST((ec == beast::error::timeout));
    });
    BOOST_TEST(!ws.next_layer().is_open());
}

BOOST_AUTO_TEST_CASE(
    a_peer_that_leaves_with_its_close, *boost::unit_test::precondition(daemon_survives_failed_writes))
{
    serve([](socket& s) {
        server_socket(s).accept();
        send_close(s);
        s.close(); // Without waiting for the client's close.
    });
    client_socket ws(std::move(stream));
    outcome connected, read;
    ws.async_handshake("guest", "/", connected.handler());
    run_until_done(connected);
    wait_for_server();
    beast::flat_buffer buffer;
    ws.async_read(buffer, read.handler());
    run_until_done(read);
    BOOST_TEST((read.ec() == websocket::error::closed), read.ec().message());
    BOOST_TEST(ws.reason().code == websocket::close_code::normal);
    BOOST_TEST(!ws.next_layer().is_open());
}

BOOST_AUTO_TEST_CASE(a_lost_connection_has_details)
{
    support::gate may_end;
    serve([&](socket& s) {
        server_socket(s).accept();
        may_end.entry()();
    });
    client_socket ws(std::move(stream));
    outcome connected, read;
    ws.async_handshake("guest", "/", connected.handler());
    run_until_done(connected);
    beast::flat_buffer buffer;
    avirt::error_details details;
    ws.async_read(buffer, avirt::with_details(read.handler(), details));
    io.poll();
    BOOST_TEST(!read);
    between.cut_latest();
    run_until_done(read);
    BOOST_TEST(read.ec() == avirt::condition::connection_lost);
    BOOST_TEST(!details.message.empty());
    may_end.open();
    wait_for_server();
}

BOOST_AUTO_TEST_CASE(a_peer_that_stops_reading_delays_a_close_until_its_timeout)
{
    support::gate may_end;
    serve([&](socket& s) {
        server_socket(s).accept();
        // A message and the close at once: Beast reads both with the message.
        asio::write(s, asio::buffer("\x82\x02hi\x88\x02\x03\xe8", 8));
        may_end.entry()();
    });
    client_socket ws(std::move(stream));
    ws.write_buffer_bytes(512 * 1024);
    const std::string message(400 * 1024, 'z'); // Too much for the buffers between the daemon and the server.
    beast::flat_buffer buffer;
    outcome connected, written, read, closed;
    ws.async_handshake("guest", "/", connected.handler());
    run_until_done(connected);
    ws.async_write(asio::buffer(message), written.handler());
    run_until_done(written);
    ws.async_read(buffer, read.handler());
    run_until_done(read);
    std::size_t sent = 0;
    run_until([&] { // Then the close can be sent at once.
        const auto now = packets();
        return (sent = std::accumulate(now.begin(), now.end(), sent)) > message.size();
    });
    ws.set_option(websocket::stream_base::timeout{1ms, websocket::stream_base::none(), false});
    ws.async_close(websocket::close_code::normal, closed.handler());
    run_until_done(closed);
    BOOST_TEST(closed.ec() == aborted); // Beast reports other timeouts than this one as error::timeout.
    BOOST_TEST(!ws.next_layer().is_open());
    may_end.open();
    wait_for_server();
}

BOOST_AUTO_TEST_CASE(a_close_that_the_peer_does_not_answer_ends_with_its_timeout)
{
    support::gate may_end;
    serve([&](socket& s) {
        server_socket ws(s);
        ws.accept();
        may_end.entry()(); // Stops reading.
    });
    client_socket ws(std::move(stream));
    support::run_coroutine(*this, [&]() -> asio::awaitable<void> {
        co_await ws.async_handshake("guest", "/", asio::use_awaitable);
        ws.set_option(websocket::stream_base::timeout{1ms, websocket::stream_base::none(), false});
        const auto [ec] =
            co_await ws.async_close(websocket::close_code::normal, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST((ec == beast::error::timeout));
    });
    BOOST_TEST(!ws.next_layer().is_open());
    may_end.open();
    wait_for_server();
}

BOOST_AUTO_TEST_CASE(a_timeout_for_each_operation)
{
    serve([](socket& s) {
        server_socket(s).accept();
        stay_silent(s);
    });
    client_socket ws(std::move(stream));
    outcome connected;
    ws.async_handshake("guest", "/", avirt::cancel_after(1h, connected.handler()));
    run_until_done(connected);
    BOOST_TEST(connected.ec() == error_code());
    beast::flat_buffer buffer;
    outcome read;
    avirt::error_details details;
    ws.async_read(buffer, avirt::with_details(avirt::cancel_after(1ns, read.handler()), details));
    run_until_done(read);
    BOOST_TEST(read.ec() == aborted);
    ws.next_layer().close();
    wait_for_server();
}

BOOST_AUTO_TEST_SUITE_END()

struct teardown_fixture : fake_fixture
{
    /// Tears a stream down that has failed with an errno, as when its guest's end is closed.
    error_code tear_down(int errno_number)
    {
        support::fake_libvirtd daemon([=](support::fake_libvirtd::session& s) {
            s.error(VIR_ERR_SYSTEM_ERROR, VIR_FROM_STREAMS, "failed", errno_number);
        });
        open(daemon);
        outcome done;
        async_teardown(beast::role_type::client, stream, done.handler());
        run_until_done(done);
        BOOST_TEST(!stream.is_open());
        conn.close();
        support::run_to_end(io);
        return done.ec();
    }
};

BOOST_FIXTURE_TEST_SUITE(beast_teardown, teardown_fixture)

BOOST_AUTO_TEST_CASE(a_peer_that_is_gone_is_no_failure)
{
    BOOST_TEST(tear_down(EPIPE) == error_code());
    BOOST_TEST(tear_down(EIO) == error_code()); // A console's.
}

BOOST_AUTO_TEST_CASE(other_failures_are_reported)
{
    BOOST_TEST(tear_down(ENOSPC) == avirt::condition::no_space);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_reported)
{
    support::fake_libvirtd daemon([](auto&) {});
    open(daemon);
    daemon.end_at_next_call(SHUT_RDWR);
    outcome done;
    async_teardown(beast::role_type::client, stream, done.handler());
    run_until_done(done);
    BOOST_TEST(done.ec() == avirt::error::result_unknown);
}

BOOST_AUTO_TEST_CASE(any_cancellation_ends_it)
{
    support::gate may_answer;
    support::fake_libvirtd daemon([&](auto&) { may_answer.entry()(); });
    const std::shared_ptr<void> at_end(nullptr, [&](auto) { may_answer.open(); }); // Frees the daemon.
    open(daemon);
    asio::cancellation_signal signal;
    outcome done;
    async_teardown(
        beast::role_type::client, stream, asio::bind_cancellation_slot(signal.slot(), done.handler()));
    signal.emit(asio::cancellation_type::total);
    run_until_done(done);
    BOOST_TEST(done.ec() == aborted);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
