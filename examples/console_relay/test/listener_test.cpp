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
    }

    const std::vector<std::string>& listening(std::vector<std::string>& options) const
    {
        options.insert(options.end(), {"--listen", "tcp:127.0.0.1:0", "--listen", at_path});
        return options;
    }

    void end()
    {
        relay.send_signal(SIGTERM);
        BOOST_TEST(relay.status() == 128 + SIGTERM);
    }

    std::string at_path = "unix:" + path() + "/console";
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

const std::string busy = "\r\n[console_relay: another client has the console; try again later]\r\n";

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_listener, relay_with_listeners)

BOOST_AUTO_TEST_CASE(clients_one_after_the_other)
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

    for (const auto& address : {at_port, at_path}) {
        relay.freeze(); // So that the input is still unread when the relay dismisses the client.
        client second(address);
        second.type("\x04");
        relay.thaw();
        BOOST_TEST(second.rest() == busy);
    }

    first.type("still here");
    first.output("still here");
    relay.freeze(); // So that no answer has come when the client is gone.
    first.type("; missed\r");
    first.close();
    relay.thaw();
    relay.errors("the client of " + at_port + " left\n");

    client third(at_path);
    relay.errors("a client came to " + at_path + "\n");
    third.output("; missed\r\n");
    third.type("three");
    third.output("three");

    relay.send_signal(SIGTERM);
    BOOST_TEST(third.rest() == "\r\n[console_relay: Ended by a signal: Terminated.]\r\n");
    BOOST_TEST(relay.status() == 128 + SIGTERM);
    BOOST_TEST(relay.rest_of_errors() == "console_relay: Ended by a signal: Terminated.\n");
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
        one.type("question\r");
        one.end_input();
        relay.thaw();
        one.output("question\r\n");
        BOOST_TEST(one.rest() == "");
        relay.errors("the client of " + address + " left\n");
    }
    client next(at_path);
    next.type("another");
    BOOST_TEST(next.output("another").find("question") == std::string::npos);
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
    int before = 0;
    int unchanged = 0;
    wait_until("the client's socket is full", [&] {
        const int now = slow.unread();
        unchanged = now > 0 && now == before ? unchanged + 1 : 0;
        before = now;
        return unchanged == 100;
    });
    client second(at_port); // The relay still answers others.
    BOOST_TEST(second.rest() == busy);

    // QEMU may drop output while the guest is kept waiting. All output that reached the daemon arrives.
    std::string received;
    for (int i = 0; i < 10000; ++i)
        received += slow.output("\nflood ");
    BOOST_TEST(seen().find(received) != std::string::npos);

    // The slow client does not keep the relay from ending either.
    relay.send_signal(SIGINT);
    BOOST_TEST(relay.status() == 128 + SIGINT);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
