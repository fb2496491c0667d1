// SPDX-License-Identifier: BSL-1.0
#include "relay_test_daemon.hpp"
#include "relay_test_program.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>

#include <sys/stat.h>
#include <unistd.h>

namespace relay_test {
namespace {

struct relay_with_listeners : private_directory
{
    explicit relay_with_listeners(const std::string& guest = "echo")
        : relay(
            daemon::instance().on_guest({"--listen", "tcp:127.0.0.1:0", "--listen", at_path}, guest),
            {"/dev/null"})
    {
        relay.errors("listening on ");
        at_port = relay.errors("\n");
        at_port.pop_back();
        relay.errors("listening on " + at_path + "\n");
    }

    std::string at_path = "unix:" + path() + "/console";
    std::string at_port;
    relay_program relay;
};

struct relay_of_flood : relay_with_listeners
{
    relay_of_flood() : relay_with_listeners("flood") {}

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
        relay.freeze(); // So that this is unread when the relay knows that it has no use for it.
        client second(address);
        second.type("\x04");
        relay.thaw();
        BOOST_TEST(second.rest() == busy);
    }

    first.type("still here");
    first.output("still here");
    first.type("; missed\r");
    first.close();
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

BOOST_FIXTURE_TEST_CASE(client_that_does_not_read, relay_of_flood)
{
    client slow(at_path);
    relay.errors("a client came to ");
    int before = 0;
    int unchanged = 0;
    wait_until("its socket is full", [&] {
        const int now = slow.unread();
        unchanged = now > 0 && now == before ? unchanged + 1 : 0;
        before = now;
        return unchanged == 100;
    });
    client second(at_port); // The relay is there for others.
    BOOST_TEST(second.rest() == busy);

    // The guest was kept waiting. QEMU may drop something when it is, once; nobody else does.
    int gaps = 0;
    slow.output("\nflood ");
    auto last = std::stol(slow.output(" "));
    for (int i = 0; i < 10000; ++i) {
        slow.output("\nflood ");
        const auto next = std::stol(slow.output(" "));
        gaps += next == last + 1 ? 0 : 1;
        last = next;
    }
    BOOST_TEST(gaps <= 1);

    // Nor does it keep the relay from ending.
    relay.send_signal(SIGINT);
    BOOST_TEST(relay.status() == 128 + SIGINT);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
