// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <fstream>
#include <iomanip>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

namespace relay_test {
namespace {

struct relay_with_listeners : private_directory
{
    relay_with_listeners() : relay_with_listeners(daemon::instance().on_guest()) {}

    explicit relay_with_listeners(std::vector<std::string> options) : relay(listening(options), {"/dev/null"})
    {
        relay.errors("listening on ");
        at_port = relay.errors("\n");
        at_port.pop_back();
        relay.errors("listening on " + at_path + "\n");
        relay.errors("listening on " + at_view + " (shows only)\n");
    }

    const std::vector<std::string>& listening(std::vector<std::string>& options) const
    {
        options.insert(
            options.end(), {"--listen", "tcp:127.0.0.1:0", "--listen", at_path, "--view", at_view});
        return options;
    }

    void end()
    {
        relay.send_signal(SIGTERM);
        BOOST_TEST(relay.status() == 128 + SIGTERM);
    }

    std::string at_path = "unix:" + path() + "/console";
    std::string at_view = "unix:" + path() + "/view";
    std::string at_port;
    relay_program relay;
};

struct relay_of_flood : wiretap, relay_with_listeners
{
    relay_of_flood() : relay_with_listeners(daemon::instance().on_guest({}, "flood", proxy.uri())) {}

    ~relay_of_flood()
    {
        daemon::instance().destroy("flood");
    }
};

const std::string looks_on = "[console_relay: another client types; this one looks on]\r\n";
const std::string types_now =
    "[console_relay: the other client has left; what is typed here goes to the guest now]\r\n";

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_listener, relay_with_listeners)

BOOST_AUTO_TEST_CASE(the_client_that_has_been_there_longest_types)
{
    struct stat socket
    {
    };
    BOOST_TEST(::stat(at_path.substr(5).c_str(), &socket) == 0);
    BOOST_TEST((socket.st_mode & 0777) == 0600);

    client first(at_port);
    relay.errors("a client came to " + at_port + "\n");
    first.type("one");
    first.output("one");
    client second(at_path);
    second.output(looks_on);
    second.output("one"); // What was kept comes first.
    client third(at_port);
    third.output(looks_on);
    third.output("one");

    third.type("\x04"); // Would switch the guest off.
    first.type("all");
    for (auto* each : {&first, &second, &third})
        BOOST_TEST(each->output("all") == "all");

    relay.freeze(); // So that no answer has come when the client is gone.
    first.type("; last\r");
    first.close();
    relay.thaw();
    relay.errors("the client of " + at_port + " left\n");
    second.output(types_now);
    second.type("two");
    second.output("two");
    BOOST_TEST(third.output("two") == "; last\r\ntwo");

    relay.send_signal(SIGTERM);
    for (auto* each : {&second, &third})
        BOOST_TEST(each->rest() == "\r\n[console_relay: Ended by a signal: Terminated.]\r\n");
    BOOST_TEST(relay.status() == 128 + SIGTERM);
    relay.errors("console_relay: Ended by a signal: Terminated.\n");
}

BOOST_AUTO_TEST_CASE(a_client_of_a_view_only_looks_on)
{
    client looker(at_view);
    relay.errors("a client came to " + at_view + "\n");
    looker.type("\x04"); // Would switch the guest off.
    looker.end_input();
    client first(at_path); // Is the first that types.
    first.type("one\r");
    first.output("one\r\n");
    looker.output("one\r\n");
    first.close();
    relay.errors("the client of " + at_path + " left\n");
    client next(at_port);
    next.type("two\r");
    looker.output("two\r\n"); // It has not left, although it has ended its input.
    looker.close();
    relay.errors("the client of " + at_view + " left\n");
    end();
}

BOOST_AUTO_TEST_CASE(guest_shut_down)
{
    client one(at_path);
    relay.errors("a client came to ");
    daemon::instance().destroy();
    BOOST_TEST(one.rest().find("[console_relay: The guest was shut down: ") != std::string::npos);
    BOOST_TEST(relay.status() == 3);
}

BOOST_AUTO_TEST_CASE(client_that_ends_its_input)
{
    for (const auto& address : {at_port, at_path}) {
        client one(address);
        relay.errors("a client came to ");
        relay.freeze(); // So that the relay finds input and end together.
        one.type("to " + address + "\r");
        one.end_input();
        relay.thaw();
        one.output("to " + address + "\r\n");
        BOOST_TEST(one.rest() == "");
        relay.errors("the client of " + address + " left\n");
    }
    client next(at_path);
    next.type("another");
    next.output("to " + at_path + "\r\nanother");
    end();
}

BOOST_AUTO_TEST_CASE(dead_peer_is_noticed)
{
    client one(at_port);
    relay.errors("a client came to ");
    // The relay's end of the connection has its keepalive timer running.
    std::ostringstream port;
    port << ':' << std::uppercase << std::hex << std::setw(4) << std::setfill('0')
         << std::stoi(at_port.substr(at_port.rfind(':') + 1));
    std::ifstream sockets("/proc/net/tcp");
    int found = 0;
    for (std::string number, local, remote, state, queues, timer, line;
         sockets >> number >> local >> remote >> state >> queues >> timer && std::getline(sockets, line);) {
        if (local.ends_with(port.str()) && state == "01") {
            ++found;
            BOOST_TEST(timer.starts_with("02:"));
        }
    }
    BOOST_TEST(found == 1);
    end();
}

// The relay does not read this client's input to its end.
BOOST_AUTO_TEST_CASE(client_that_leaves_while_its_input_waits)
{
    daemon guests;
    relay_with_listeners other(guests.on_guest());
    client one(other.at_path);
    other.relay.errors("a client came to ");
    guests.suspend();
    one.type(std::string(400000, 'x'));
    one.close();
    other.relay.errors("the client of " + other.at_path + " left\n");
    client two(other.at_path);
    other.relay.errors("a client came to ");
    other.end();
    end();
}

BOOST_FIXTURE_TEST_CASE(client_that_does_not_read, relay_of_flood)
{
    client slow(at_path);
    relay.errors("a client came to ");
    client quick(at_view);
    for (std::size_t taken = 0; taken < 2'000'000;) // More than sockets and history hold.
        taken += quick.output("\nflood ").size();

    auto before = slow.output(" bytes lost]\r\n");
    const auto sentence = before.rfind('[');
    const auto lost = std::stoul(before.substr(sentence + 1));
    before.resize(sentence);
    auto after = slow.output("\nflood ");
    after += slow.output("\nflood ");
    // QEMU may drop output, too. What reached the daemon arrives, except for what is told to be lost.
    const auto all = seen();
    const auto goes_on_after = [&](const std::string& text) {
        const auto at = all.find(text);
        return at != all.npos && all.substr(at + text.size() + lost, after.size()) == after;
    };
    // The sentence begins a line, for which the relay may have ended the guest's.
    const auto without_line_end = before.substr(0, before.size() - 2);
    BOOST_TEST((goes_on_after(before) || goes_on_after(without_line_end)));

    // A slow client does not keep the relay from ending either.
    relay.send_signal(SIGINT);
    BOOST_TEST(relay.status() == 128 + SIGINT);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
