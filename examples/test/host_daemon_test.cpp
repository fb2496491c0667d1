// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"
#include "example.hpp"
#include "http_client.hpp"
#include "serving_example.hpp"

#include <support/eventually.hpp>
#include <support/libvirtd.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

// Runs host_daemon with a libvirtd that is killed, restarted and stopped.

namespace {

class server : public serving_example
{
public:
    server(const std::string& uri, std::filesystem::path output)
        : serving_example(HOST_DAEMON, {"0", uri}, std::move(output))
    {
    }
};

struct server_fixture
{
    support::libvirtd daemon;
    domains all{daemon};
    std::filesystem::path output = daemon.directory() / "output";

    server_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        all.connect();
    }

    void kill_daemon()
    {
        all.disconnect();
        daemon.leave(SIGKILL);
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.has_left(); }));
    }

    void restart_daemon()
    {
        daemon.come_back();
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.is_up(); }));
        all.connect();
    }
};

bool contains(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

/// Asks for the events, and receives the first one.
std::string first_event(http_client& client)
{
    const auto header = client.ask("GET", "/events");
    BOOST_TEST_REQUIRE(header.status == 200);
    BOOST_TEST(contains(header.header, "Content-Type: text/event-stream\r\n"), header.header);
    return client.event_with("host_");
}

/// Waits until the list of the domains contains a text. A change arrives there as an event.
bool lists(http_client& client, const std::string& text)
{
    return support::eventually([&] { return contains(client.ask("GET", "/domains").body, text); });
}

BOOST_FIXTURE_TEST_SUITE(host_daemon, server_fixture)

BOOST_AUTO_TEST_CASE(a_list_and_actions_on_one_connection)
{
    all.define("vm");
    all.define("my vm");
    server s(daemon.uri(), output);
    http_client client(s.port());
    BOOST_TEST(lists(client, R"("name":"vm")"));
    const auto list = client.ask("GET", "/domains");
    BOOST_TEST(list.status == 200);
    BOOST_TEST(contains(list.header, "Content-Type: application/json\r\n"));
    BOOST_TEST(contains(list.body, R"("state":"shut off","reason":")"), list.body);

    BOOST_TEST(client.ask("POST", "/domains/vm/start").status == 204);
    BOOST_TEST(lists(client, R"("state":"running","reason":"booted")"));
    const auto again = client.ask("POST", "/domains/vm/start");
    BOOST_TEST(again.status == 409);
    BOOST_TEST(contains(again.body, "domain is already running"), again.body);
    const auto unknown = client.ask("POST", "/domains/none/start");
    BOOST_TEST(unknown.status == 404);
    BOOST_TEST(contains(unknown.body, "no domain with matching name 'none'"), unknown.body);

    for (const char* action : {"suspend", "resume", "reboot", "shutdown"})
        BOOST_TEST(client.ask("POST", std::string("/domains/vm/") + action).status == 204, action);
    BOOST_TEST(client.ask("POST", "/domains/vm/destroy").status == 204);
    BOOST_TEST(client.ask("POST", "/domains/vm/suspend").status == 409);
    BOOST_TEST(client.ask("POST", "/domains/my%20vm/start").status == 204);
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(requests_that_make_no_sense)
{
    server s(daemon.uri(), output);
    http_client client(s.port());
    BOOST_TEST(lists(client, "host_connected"));
    for (const char* target :
         {"/", "/domain", "/domains/", "/domains/vm", "/domains//start", "/domains/start",
          "/domains/vm/dance"})
        BOOST_TEST(client.ask("GET", target).status == 404, target);
    BOOST_TEST(client.ask("POST", "/domains/%/start").status == 404);
    BOOST_TEST(client.ask("POST", "/domains/%2/start").status == 404);
    BOOST_TEST(client.ask("POST", "/domains/%xy/start").status == 404);
    for (const char* target : {"/domains", "/events"}) {
        const auto refused = client.ask("DELETE", target);
        BOOST_TEST(refused.status == 405, target);
        BOOST_TEST(contains(refused.header, "Allow: GET\r\n"), refused.header);
    }
    const auto refused = client.ask("GET", "/domains/vm/start");
    BOOST_TEST(refused.status == 405);
    BOOST_TEST(contains(refused.header, "Allow: POST\r\n"), refused.header);
    client.send("POST", "/domains/vm/start", "a body");
    BOOST_TEST(client.is_closed());

    http_client other(s.port());
    other.send("no", "HTTP at all\r\n\r\n");
    BOOST_TEST(other.is_closed());
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(two_clients_get_the_same_events)
{
    all.define("vm");
    server s(daemon.uri(), output);
    http_client first(s.port()), second(s.port()), third(s.port());
    for (auto* client : {&first, &second}) {
        const auto event = first_event(*client);
        BOOST_TEST(contains(event, R"("report":"host_connected","domains":[{"name":"vm")"), event);
    }
    for (const char* action : {"start", "suspend", "destroy"})
        BOOST_TEST(third.ask("POST", std::string("/domains/vm/") + action).status == 204);
    all.change("vm", virDomainUndefine);
    const auto last = first.event_with(R"("event":"undefined")");
    BOOST_TEST(contains(last, R"("detail":"removed","is_gone":true)"), last);
    BOOST_TEST(last == second.event_with(R"("event":"undefined")"));
    BOOST_TEST(contains(first.passed(), R"("event":"started","detail":"booted")"), first.passed());
    BOOST_TEST(contains(first.passed(), R"("event":"suspended")"), first.passed());
    BOOST_TEST(contains(first.passed(), R"("event":"stopped","detail":"destroyed")"), first.passed());
    BOOST_TEST(first.passed() == second.passed());
    BOOST_TEST(s.end(SIGINT) == 0);
}

BOOST_AUTO_TEST_CASE(a_client_that_leaves_gets_no_more_events)
{
    server s(daemon.uri(), output);
    http_client client(s.port());
    BOOST_TEST(contains(first_event(client), "host_connected"));
    client.end_sending();
    BOOST_TEST(client.is_closed());
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_dies_and_comes_back)
{
    all.define("vm");
    server s(daemon.uri(), output);
    http_client watcher(s.port()), client(s.port());
    BOOST_TEST(contains(first_event(watcher), "host_connected"));

    kill_daemon();
    const auto away = watcher.event_with("host_disconnected");
    BOOST_TEST(contains(away, R"("retry_in_ms":)"), away);
    const auto list = client.ask("GET", "/domains");
    BOOST_TEST(list.status == 503);
    BOOST_TEST(contains(list.body, R"("retry_in_ms":)"), list.body);
    BOOST_TEST(!contains(list.body, R"("details":"")"), list.body);
    BOOST_TEST(client.ask("POST", "/domains/vm/start").status == 503);

    restart_daemon();
    const auto back = watcher.event_with("host_connected");
    BOOST_TEST(contains(back, R"("name":"vm")"), back);
    BOOST_TEST(client.ask("GET", "/domains").status == 200);
    BOOST_TEST(client.ask("POST", "/domains/vm/start").status == 204);
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_stops_for_a_while)
{
    all.define("vm");
    server s(daemon.uri(), output);
    http_client watcher(s.port()), client(s.port()), other(s.port());
    BOOST_TEST(contains(first_event(watcher), "host_connected"));
    const auto connections = daemon.clients();

    daemon.freeze();
    client.send("POST", "/domains/vm/start");
    auto answer = std::async(std::launch::async, [&] { return client.receive(); });
    BOOST_TEST(other.ask("GET", "/domains").status == 200);
    const auto late = answer.get();
    BOOST_TEST(late.status == 504);
    BOOST_TEST(contains(late.body, R"("error":"no answer in time")"), late.body);

    daemon.thaw();
    BOOST_TEST(contains(watcher.event_with("started"), R"("name":"vm")")); // What was asked for happens late.
    BOOST_TEST(client.ask("POST", "/domains/vm/destroy").status == 204);
    BOOST_TEST(contains(watcher.event_with("stopped"), R"("name":"vm")"));
    BOOST_TEST(!contains(watcher.passed(), "host_"), watcher.passed()); // The connection is still the same.
    BOOST_TEST(daemon.clients() == connections);
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(a_client_that_does_not_read)
{
    server s(daemon.uri(), output);
    http_client slow(s.port()), fast(s.port());
    BOOST_TEST(contains(first_event(slow), "host_connected"));
    BOOST_TEST(contains(first_event(fast), "host_connected"));
    const std::string long_name(200, 'n');
    for (int round = 0; round < 400; ++round) {
        const auto name = long_name + std::to_string(round);
        all.define(name);
        all.change(name, virDomainUndefine);
        BOOST_TEST_REQUIRE(contains(fast.event_with(R"("event":"undefined")"), name + '"'));
    }
    BOOST_TEST(!contains(fast.passed(), "events_lost"));

    BOOST_TEST(slow.event_with("events_lost") != "");
    BOOST_TEST(contains(slow.event_with("data: "), "host_connected"));
    all.define("vm");
    BOOST_TEST(slow.event_with(R"("name":"vm")") != "");
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(the_end_while_clients_are_connected)
{
    server s(daemon.uri(), output);
    http_client watcher(s.port()), idle(s.port()), acting(s.port());
    BOOST_TEST(contains(first_event(watcher), "host_connected"));
    BOOST_TEST(idle.ask("GET", "/domains").status == 200);
    daemon.freeze();
    acting.send("POST", "/domains/vm/start");
    s.signal(SIGTERM);
    for (auto* client : {&watcher, &idle, &acting})
        BOOST_TEST(client->is_closed());
    BOOST_TEST(s.end(0) == 0);
    daemon.thaw();
}

BOOST_AUTO_TEST_CASE(no_daemon)
{
    server s("qemu+unix:///session?socket=/nonexistent/socket", output);
    http_client client(s.port());
    const auto list = client.ask("GET", "/domains");
    BOOST_TEST(list.status == 503);
    BOOST_TEST(contains(list.body, "'/nonexistent/socket'"), list.body);
    BOOST_TEST(client.ask("POST", "/domains/vm/start").status == 503);
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(wrong_arguments)
{
    using arguments = std::vector<std::string>;
    for (const auto& wrong :
         {arguments{}, arguments{"x"}, arguments{"80x"}, arguments{"65536"}, arguments{"0", "uri", "more"}}) {
        example e(HOST_DAEMON, wrong, output);
        BOOST_TEST(e.end(0) == 2);
        BOOST_TEST(e.has_printed("usage: "), e.printed());
    }
}

BOOST_AUTO_TEST_CASE(a_port_that_is_in_use)
{
    server s(daemon.uri(), output);
    example other(HOST_DAEMON, {std::to_string(s.port()), daemon.uri()}, daemon.directory() / "other");
    BOOST_TEST(other.end(0) == 1);
    BOOST_TEST(other.has_printed("Address already in use"), other.printed());
    BOOST_TEST(s.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
