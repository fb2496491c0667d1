// SPDX-License-Identifier: BSL-1.0
#include <avirt/avirt.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>
#include <support/silent_peer.hpp>
#include <support/thread_count.hpp>

#include <boost/test/unit_test.hpp>

#include <deque>
#include <memory>
#include <string>
#include <variant>

// Checks that a blocked connection or host does not delay any other.

namespace {

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;
using support::silent_peer;

struct isolation_fixture : support::loop_fixture
{
    using loop_fixture::loop_fixture;

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    void open(avirt::connection& c)
    {
        outcome opened;
        c.async_open("test:///default", opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }

    /// Opens an unrelated connection, makes a call on it, and closes it.
    void check_another_is_served()
    {
        avirt::connection healthy(io);
        open(healthy);
        outcome counted, closed;
        healthy.async_call(virConnectNumOfDomains, counted.handler());
        run_until_done(counted);
        BOOST_TEST(counted.ec() == error_code());
        healthy.async_close(closed.handler());
        run_until_done(closed);
        BOOST_TEST(closed.ec() == error_code());
    }
};

/// Calls that block, each on a connection of its own.
struct stuck_calls
{
    std::deque<avirt::connection> connections;
    std::deque<outcome> called;
    support::gate gate;

    stuck_calls(isolation_fixture& f, int count)
    {
        for (int i = 0; i < count; ++i) {
            f.open(connections.emplace_back(f.io));
            connections.back().async_call(gate.entry(), called.emplace_back().handler());
        }
        f.run_until([&] { return gate.arrived() == count; });
    }
};

BOOST_FIXTURE_TEST_SUITE(isolation, isolation_fixture)

BOOST_AUTO_TEST_CASE(blocked_calls)
{
    stuck_calls calls(*this, 64);
    check_another_is_served();
    calls.gate.open();
    for (const auto& c : calls.called) {
        run_until_done(c);
        BOOST_TEST(c.ec() == error_code());
    }
}

BOOST_AUTO_TEST_CASE(unanswered_opens)
{
    std::deque<silent_peer> peers;
    std::deque<avirt::connection> connections;
    std::deque<outcome> opened;
    for (int i = 0; i < 40; ++i) {
        peers.emplace_back(i % 2 == 0 ? silent_peer::kind::accepts : silent_peer::kind::has_no_room);
        connections.emplace_back(io).async_open(peers.back().uri(), opened.emplace_back().handler());
    }
    check_another_is_served();
    for (const auto& o : opened)
        BOOST_TEST(!o);
    connections.clear();
    for (auto& p : peers)
        p.leave();
}

BOOST_AUTO_TEST_CASE(silent_supervised_hosts)
{
    std::deque<silent_peer> peers;
    std::deque<avirt::supervised_connection> hosts;
    const auto has_reported = std::make_shared<bool>(false);
    for (int i = 0; i < 20; ++i) {
        avirt::supervision_options options;
        options.open.uri = peers.emplace_back(silent_peer::kind::accepts).uri();
        hosts.emplace_back(io, options).async_receive([](error_code, avirt::host_report) {});
    }
    avirt::supervision_options options;
    options.open.uri = "test:///default";
    hosts.emplace_back(io, options).async_receive([has_reported](error_code ec, avirt::host_report report) {
        BOOST_TEST(ec == error_code());
        BOOST_TEST(std::holds_alternative<avirt::host_connected>(report));
        *has_reported = true;
    });
    run_until([&] { return *has_reported; });
    for (auto& h : hosts)
        h.close();
    hosts.clear();
    for (auto& p : peers)
        p.leave();
}

BOOST_AUTO_TEST_CASE(idle_threads_end)
{
    constexpr int count = 100;
    stuck_calls calls(*this, count);
    BOOST_TEST(support::thread_count() > count);
    calls.gate.open();
    calls.connections.clear();
    BOOST_TEST(support::eventually([&] { return support::thread_count() < count / 4; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
