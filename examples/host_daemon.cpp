// SPDX-License-Identifier: BSL-1.0
//
// Serves the domains of a host over HTTP. It listens on 127.0.0.1, because clients are not authenticated.
//
//     host_daemon PORT [URI]      port 0 is any free port; SIGINT and SIGTERM end the program
//
//     GET  /domains               lists the domains and their states
//     POST /domains/NAME/ACTION   start, shutdown, destroy, suspend, resume or reboot
//     GET  /events                sends what happens, when it happens (server-sent events)

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/src.hpp> // Boost.JSON without its library
#include <libvirt/libvirt.h>

#include <charconv>
#include <chrono>
#include <exception>
#include <iostream>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;
using boost::system::error_code;
using response = http::response<http::string_body>;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

constexpr auto call_limit = 5s;     // for an answer of libvirtd
constexpr auto client_limit = 1min; // for a client to send its next request, or to take what it is sent

json::object as_json(const avirt::domain_status& d)
{
    const auto state = virDomainState(d.state);
    return {
        {"name", d.name},
        {"uuid", d.uuid},
        {"state", avirt::to_string(state)},
        {"reason", avirt::to_string(state, d.reason)}};
}

json::object as_json(const avirt::host_connected& report)
{
    json::array domains;
    for (const auto& d : report.domains)
        domains.push_back(as_json(d));
    return {{"report", "host_connected"}, {"domains", domains}};
}

json::object as_json(const avirt::host_disconnected& report)
{
    return {
        {"report", "host_disconnected"},
        {"error", report.error.message()},
        {"details", report.details.message},
        {"retry_in_ms", report.retry_in.count()}};
}

json::object as_json(const avirt::domain_changed& report)
{
    const auto event = virDomainEventType(report.event);
    return {
        {"report", "domain_changed"},
        {"event", avirt::to_string(event)},
        {"detail", avirt::to_string(event, report.detail)},
        {"is_gone", report.is_gone},
        {"domain", as_json(report.status)}};
}

json::object report_as_json(const avirt::host_report& report)
{
    return std::visit([](const auto& r) { return as_json(r); }, report);
}

response respond(http::status status, const json::value& body)
{
    response r{status, 11};
    r.set(http::field::content_type, "application/json");
    r.body() = json::serialize(body) + '\n';
    r.prepare_payload();
    return r;
}

/// Does not ask libvirtd: a new feed begins with the state of the host, as soon as avirt knows it.
asio::awaitable<response> list_domains(avirt::supervised_connection& host)
{
    avirt::host_feed feed{host};
    const auto report = co_await feed.async_receive(asio::use_awaitable);
    const bool is_away = std::holds_alternative<avirt::host_disconnected>(report);
    const auto status = is_away ? http::status::service_unavailable : http::status::ok;
    co_return respond(status, report_as_json(report));
}

using action = int (*)(virDomainPtr);

const std::map<std::string_view, action> actions{
    {"start", virDomainCreate},    {"shutdown", virDomainShutdown},
    {"destroy", virDomainDestroy}, {"suspend", virDomainSuspend},
    {"resume", virDomainResume},   {"reboot", [](virDomainPtr domain) { return virDomainReboot(domain, 0); }},
};

/// Runs on a worker thread. A negative result is a failure, whose reason is libvirt's last error.
int perform(virConnectPtr connection, const char* name, action a)
{
    const avirt::domain domain{virDomainLookupByName(connection, name)};
    return domain ? a(domain.get()) : -1;
}

http::status status_of(error_code ec)
{
    using avirt::condition;
    using http::status;
    return ec == avirt::error::not_open || ec == condition::connection_lost ? status::service_unavailable
        : ec == asio::error::operation_aborted                              ? status::gateway_timeout
        : ec == condition::not_found                                        ? status::not_found
        : ec == condition::denied                                           ? status::forbidden
        : ec == condition::wrong_state || ec == condition::busy             ? status::conflict
                                                                            : status::bad_gateway;
}

/// The cancellation is partial, because all clients share the connection: a terminal one would free the
/// thread of a stuck call by cutting the connection. The call goes on, and may succeed later.
asio::awaitable<response> act(avirt::supervised_connection& host, std::string name, action a)
{
    avirt::error_details details;
    const auto limited = avirt::cancel_after(
        call_limit, asio::cancellation_type::partial, asio::as_tuple(asio::use_awaitable));
    auto [ec, result] = co_await host.connection().async_call(
        avirt::calling(perform, name, a), avirt::with_details(limited, details));
    if (!ec)
        co_return response{http::status::no_content, 11};
    const auto error = ec == asio::error::operation_aborted ? "no answer in time" : ec.message();
    co_return respond(status_of(ec), {{"error", error}, {"details", details.message}});
}

/// "my%20vm" is "my vm".
std::string decode(std::string text)
{
    for (auto i = text.find('%'); i != std::string::npos && i + 2 < text.size(); i = text.find('%', i + 1)) {
        unsigned char byte = '%';
        std::from_chars(&text[i + 1], &text[i + 3], byte, 16);
        text.replace(i, 3, 1, static_cast<char>(byte));
    }
    return text;
}

asio::awaitable<response> answer(
    avirt::supervised_connection& host, const http::request<http::empty_body>& asked)
{
    constexpr std::string_view prefix = "/domains/";
    const std::string_view target = asked.target();
    const auto slash = target.rfind('/');
    const auto known = actions.find(target.substr(slash + 1));
    const bool is_action = target.starts_with(prefix) && slash > prefix.size() && known != actions.end();
    if (!is_action && target != "/domains" && target != "/events")
        co_return respond(http::status::not_found, {{"error", "no such resource"}});

    const auto allowed = is_action ? http::verb::post : http::verb::get;
    if (asked.method() != allowed) {
        auto refusal = respond(http::status::method_not_allowed, {{"error", "wrong method"}});
        refusal.set(http::field::allow, http::to_string(allowed));
        co_return refusal;
    }
    if (!is_action)
        co_return co_await list_domains(host);
    const auto name = decode(std::string(target.substr(prefix.size(), slash - prefix.size())));
    co_return co_await act(host, name, known->second);
}

/// A client that reads slowly delays its own feed only, which drops the reports that it cannot keep.
asio::awaitable<void> send_events(beast::tcp_stream& client, avirt::supervised_connection& host)
{
    avirt::host_feed feed{host, 64};
    error_code ec;
    while (!ec) {
        const auto report = co_await feed.async_receive(
            avirt::cancel_after(15s, asio::redirect_error(asio::use_awaitable, ec)));
        std::string event = ":\n\n"; // A sign of life, which clients ignore: nothing has happened.
        if (!ec)
            event = "data: " + json::serialize(report_as_json(report)) + "\n\n";
        else if (ec == avirt::error::events_lost) // The next report is host_connected.
            event = "data: {\"report\":\"events_lost\"}\n\n";
        else if (ec != asio::error::operation_aborted)
            co_return;
        client.expires_after(client_limit);
        co_await asio::async_write(
            client, asio::buffer(event), asio::redirect_error(asio::use_awaitable, ec));
    }
}

/// Ends with an exception if the client leaves, is too slow or does not speak HTTP.
asio::awaitable<void> serve(beast::tcp_stream& client, avirt::supervised_connection& host)
{
    beast::flat_buffer buffer;
    for (bool goes_on = true; goes_on;) {
        http::request_parser<http::empty_body> parser;
        client.expires_after(client_limit);
        co_await http::async_read(client, buffer, parser, asio::use_awaitable);
        const auto& asked = parser.get();
        if (asked.target() == "/events" && asked.method() == http::verb::get) {
            http::response<http::empty_body> header{http::status::ok, 11};
            header.set(http::field::content_type, "text/event-stream");
            header.keep_alive(false);
            co_await http::async_write(client, header, asio::use_awaitable);
            client.expires_never();
            char byte; // A client that leaves, or sends any more, ends the stream.
            auto gone = client.async_read_some(asio::buffer(&byte, 1), asio::as_tuple(asio::use_awaitable));
            co_await (std::move(gone) || send_events(client, host));
            co_return;
        }
        auto given = co_await answer(host, asked);
        goes_on = asked.keep_alive();
        given.keep_alive(goes_on);
        client.expires_after(client_limit);
        co_await http::async_write(client, given, asio::use_awaitable);
    }
}

asio::awaitable<void> accept(
    tcp::acceptor& acceptor, std::list<beast::tcp_stream>& clients, avirt::supervised_connection& host)
{
    for (;;) {
        auto [ec, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
        if (!acceptor.is_open())
            co_return;
        if (ec) { // Too many open files, for instance.
            co_await asio::steady_timer(acceptor.get_executor(), 1s).async_wait(asio::use_awaitable);
            continue;
        }
        const auto client = clients.emplace(clients.end(), std::move(socket));
        const auto erase = [&clients, client](std::exception_ptr) { clients.erase(client); };
        asio::co_spawn(acceptor.get_executor(), serve(*client, host), erase);
    }
}

/// The first receive begins the supervision.
asio::awaitable<void> log_reports(avirt::supervised_connection& host)
{
    error_code ec;
    while (ec != avirt::error::not_open) {
        const auto report = co_await host.async_receive(asio::redirect_error(asio::use_awaitable, ec));
        if (!ec)
            std::clog << json::serialize(report_as_json(report)) << std::endl;
    }
}

int main(int argc, char* argv[])
try {
    const std::string_view digits = argc == 2 || argc == 3 ? argv[1] : "";
    asio::ip::port_type port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size()) {
        std::cerr << "usage: host_daemon PORT [URI]\nPORT is a number; 0 is any free port.\n";
        return 2;
    }

    asio::io_context io; // One thread runs it, so operations and their timeouts need no strands.
    avirt::event_loop loop{io};
    tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), port}};
    // What a client does not read is to wait in its feed, which is bounded, rather than in the kernel.
    acceptor.set_option(asio::socket_base::send_buffer_size(65536));
    std::cout << "listening on " << acceptor.local_endpoint() << std::endl;

    avirt::supervision_options options;
    options.open.uri = argc == 3 ? argv[2] : "";
    options.longest_delay = 5s;
    avirt::supervised_connection host{io, options};
    std::list<beast::tcp_stream> clients;
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    asio::co_spawn(io, log_reports(host), rethrow);
    asio::co_spawn(io, accept(acceptor, clients, host), rethrow);
    asio::signal_set signals{io, SIGINT, SIGTERM};
    signals.async_wait([&](error_code, int) {
        acceptor.close();
        host.close();
        for (auto& client : clients)
            client.close();
    });
    io.run(); // Returns when nothing of this is left.
}
catch (const std::exception& e) {
    std::cerr << "host_daemon: " << e.what() << '\n';
    return 1;
}
