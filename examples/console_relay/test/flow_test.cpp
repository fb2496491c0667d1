// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"
#include "relay_program.hpp"

#include "support/packet_proxy.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include <unistd.h>

namespace relay_test {

BOOST_FIXTURE_TEST_SUITE(relay_flow, private_directory)

BOOST_AUTO_TEST_CASE(a_paste_that_the_guest_does_not_take)
{
    constexpr std::size_t paste = 40000;
    daemon guests;
    std::mutex mutex;
    std::vector<std::size_t> packets; // the sizes of the packets with input
    support::packet_proxy proxy(guests.libvirtd().socket(), [&](const support::packet_proxy::packet& p) {
        const std::lock_guard guard(mutex);
        if (p.from_client && p.is_stream_data())
            packets.push_back(p.payload.size());
        return support::packet_proxy::verdict::pass;
    });
    relay_program relay(guests.on_guest({}, "echo", proxy.uri()), relay_program::terminal());
    relay.errors(" leaves.");
    relay.type("there?\r");
    relay.output("there?\r\n");
    guests.suspend();
    {
        const std::lock_guard guard(mutex);
        packets.clear();
    }
    relay.type(std::string(paste, 'x'));
    const auto sent = [&] {
        const std::lock_guard guard(mutex);
        return std::accumulate(packets.begin(), packets.end(), std::size_t{0});
    };
    // The console has room for the first 4 KiB; libvirtd drops a connection on which five packets wait.
    const auto waiting = [&] {
        const std::lock_guard guard(mutex);
        std::size_t room = 4096;
        return std::ranges::count_if(packets, [&](auto size) {
            room -= std::min(size, room);
            return room == 0;
        });
    };
    // What the relay reads too late for the fourth packet waits in the relay.
    wait_until("all input is sent, or as much as may be", [&] { return sent() == paste || waiting() >= 4; });
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(waiting() <= 4);
}

BOOST_AUTO_TEST_CASE(input_from_a_pipe_that_the_guest_does_not_take)
{
    daemon guests;
    relay_program relay(guests.on_guest());
    relay.type("there?\r");
    relay.output("there?\r\n");
    guests.suspend();
    relay.type("later\r");
    relay.end_input();
    relay.errors(" the guest takes no input at present]\n");
    guests.resume();
    relay.output("later\r\n");
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.rest_of_errors() == "");
}

BOOST_AUTO_TEST_CASE(much_input_that_the_guest_does_not_take)
{
    daemon guests;
    const auto text = path() + "/text";
    std::ofstream(text) << std::string(300'000, 'x');
    guests.on_guest();
    guests.suspend();
    relay_program relay(guests.with_guest(), {text});
    relay.errors(" the guest takes no input at present]\n");
    relay.send_signal(SIGTERM);
    BOOST_TEST(relay.status() == 128 + SIGTERM);
    ::unlink(text.c_str());
}

BOOST_AUTO_TEST_CASE(a_terminal_beeps_when_input_is_refused)
{
    daemon guests;
    relay_program relay(guests.on_guest(), relay_program::terminal());
    relay.errors(" leaves.");
    guests.suspend();
    relay.type(std::string(100'000, 'x'));
    relay.errors("\a");
    relay.type("\x1d");
    BOOST_TEST(relay.status() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
