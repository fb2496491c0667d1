// SPDX-License-Identifier: BSL-1.0
#include "live_connections.hpp"

#include <avirt/connection.hpp>
#include <avirt/event_loop.hpp>
#include <support/open_files.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <future>
#include <optional>

// Loops and contexts are created and destroyed while connections to a daemon and inside this process stay
// open.

namespace {

namespace data = boost::unit_test::data;
using support::eventually;
using support::open_files;
using support::outcome;
using keepalive = live_connections::keepalive;

/// A loop and its context, either of which can be destroyed first.
struct bound_loop
{
    std::optional<asio::io_context> io{std::in_place};
    std::optional<avirt::event_loop> loop{std::in_place, *io};

    void end(bool context_first)
    {
        if (context_first)
            io.reset();
        loop.reset();
        io.reset();
    }
};

/// Checks that the body leaves no new open file in this process, and no client at the daemon.
template <class Body>
void check_leaves_nothing(Body body)
{
    { // libvirt opens some files once, and keeps them.
        bound_loop l;
        live_connections().check_served(*l.io);
        support::run_to_end(*l.io);
    }
    BOOST_TEST(eventually([] { return shared_daemon().clients() == 0; }));
    const auto before = open_files();
    body();
    BOOST_TEST(eventually([&] { return open_files() == before; }));
    BOOST_TEST(eventually([] { return shared_daemon().clients() == 0; }));
}

void check_next_loop_works()
{
    bound_loop next;
    {
        live_connections connections;
        connections.check_served(*next.io);
    }
    support::run_to_end(*next.io);
    BOOST_TEST(next.loop->is_idle());
}

int status_of_child(void (*body)())
{
    const auto pid = ::fork();
    if (pid == 0) {
        ::alarm(60);
        body();
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(pid, &status, 0);
    return status;
}

} // namespace

BOOST_AUTO_TEST_SUITE(remote_lifecycle)

BOOST_DATA_TEST_CASE(
    connections_are_closed_before_the_loop_ends, data::make({false, true}) * data::make({false, true}),
    context_first, with_keepalive)
{
    check_leaves_nothing([&] {
        bound_loop l;
        {
            live_connections connections(with_keepalive ? keepalive::on : keepalive::off);
            connections.check_served(*l.io);
        }
        l.end(context_first); // Nothing has been freed yet.
    });
    check_next_loop_works();
}

BOOST_DATA_TEST_CASE(
    connections_are_closed_with_no_loop_bound, data::make({false, true}) * data::make({false, true}),
    context_first, with_keepalive)
{
    check_leaves_nothing([&] {
        bound_loop l;
        live_connections connections(with_keepalive ? keepalive::on : keepalive::off);
        connections.check_served(*l.io);
        l.end(context_first);
    });
    check_next_loop_works();
}

BOOST_DATA_TEST_CASE(
    connections_are_closed_on_the_next_loop, data::make({false, true}) * data::make({false, true}),
    context_first, with_keepalive)
{
    check_leaves_nothing([&] {
        bound_loop first;
        std::optional<live_connections> connections(
            std::in_place, with_keepalive ? keepalive::on : keepalive::off);
        connections->check_served(*first.io);
        first.end(context_first);
        bound_loop next;
        connections->check_served(*next.io);
        connections.reset();
        support::run_to_end(*next.io);
        BOOST_TEST(next.loop->is_idle());
    });
}

BOOST_AUTO_TEST_CASE(a_hundred_loops_serve_the_same_connections)
{
    check_leaves_nothing([] {
        asio::io_context callers; // No loop is bound to it.
        bound_loop first;
        live_connections connections(keepalive::on);
        avirt::connection conn(callers);
        outcome opened;
        conn.async_open(shared_daemon().uri(), opened.handler());
        support::run_until(callers, [&] { return opened.calls() > 0; });
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        connections.check_served(*first.io);
        const auto stats = first.loop->stats();
        const auto files = open_files();
        first.end(false);
        for (int i = 0; i < 100; ++i) {
            bound_loop next;
            BOOST_TEST(next.loop->stats().watches == stats.watches);
            BOOST_TEST(next.loop->stats().timeouts == stats.timeouts);
            connections.check_served(*next.io);
            outcome called;
            conn.async_call(virConnectNumOfDomains, called.handler());
            support::run_until(callers, [&] { return called.calls() > 0; });
            BOOST_TEST(called.ec() == error_code());
            BOOST_TEST(open_files() == files);
            next.end(i % 2 == 0);
        }
        conn.close();
        support::run_to_end(callers);
    });
    check_next_loop_works();
}

BOOST_DATA_TEST_CASE(an_avirt_connection_is_closed_with_no_loop_bound, data::make({0, 1, 2}), how)
{
    check_leaves_nothing([&] {
        asio::io_context callers;
        std::optional<avirt::connection> conn(std::in_place, callers);
        bound_loop l;
        outcome opened;
        conn->async_open(shared_daemon().uri(), opened.handler());
        support::run_until(callers, [&] { return opened.calls() > 0; });
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        l.end(false);
        outcome closed;
        switch (how) {
        case 0:
            conn->async_close(closed.handler());
            support::run_until(callers, [&] { return closed.calls() > 0; });
            BOOST_TEST(closed.ec() == error_code());
            break;
        case 1:
            conn->close();
            break;
        default:
            conn.reset();
        }
    });
}

BOOST_AUTO_TEST_CASE(the_next_loop_does_not_know_connections_closed_before_it)
{
    bound_loop first;
    std::optional<live_connections> connections(std::in_place, keepalive::on);
    connections->check_served(*first.io);
    BOOST_TEST(first.loop->stats().watches == 2u);
    BOOST_TEST(first.loop->stats().timeouts == 3u); // two for events, one for keepalive
    first.end(false);
    connections.reset();
    bound_loop next;
    BOOST_TEST(next.loop->stats().watches == 0u);
    BOOST_TEST(next.loop->stats().timeouts == 0u);
    support::run_to_end(*next.io);
    BOOST_TEST(next.loop->is_idle());
}

BOOST_AUTO_TEST_CASE(the_next_loop_notices_that_a_daemon_died_before_it)
{
    support::libvirtd daemon;
    bound_loop first;
    plain_connection connection(daemon.uri());
    int reason = -1;
    const auto note = [](virConnectPtr, int why, void* r) { *static_cast<int*>(r) = why; };
    BOOST_TEST(virConnectRegisterCloseCallback(connection.get(), note, &reason, nullptr) == 0);
    first.end(false);
    daemon.kill();
    bound_loop next;
    support::run_until(*next.io, [&] { return reason >= 0; });
    BOOST_TEST(reason == int{VIR_CONNECT_CLOSE_REASON_EOF});
    BOOST_TEST(connection.close());
    support::run_to_end(*next.io);
}

BOOST_AUTO_TEST_CASE(a_drain_completes_after_concurrent_closes)
{
    bound_loop l;
    const auto before = open_files();
    std::deque<avirt::connection> connections;
    std::deque<plain_connection> plain;
    for (int i = 0; i < 8; ++i) {
        plain.emplace_back(shared_daemon().uri());
        outcome opened;
        connections.emplace_back(*l.io).async_open(shared_daemon().uri(), opened.handler());
        support::run_until(*l.io, [&] { return opened.calls() > 0; });
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }
    BOOST_TEST(l.loop->stats().watches == 16u);
    bool is_drained = false;
    l.loop->async_drain([&](error_code ec) {
        BOOST_TEST(ec == error_code());
        BOOST_TEST(l.loop->stats().watches == 0u);
        is_drained = true;
    });
    auto all_closed = std::async(std::launch::async, [&] {
        return std::all_of(plain.begin(), plain.end(), [](auto& c) { return c.close(); });
    });
    for (std::size_t i = 0; i < connections.size(); ++i) {
        if (i % 2 == 0)
            connections[i].close();
        else
            connections[i].async_close([](error_code) {});
    }
    support::run_to_end(*l.io);
    BOOST_TEST(all_closed.get());
    BOOST_TEST(is_drained);
    BOOST_TEST(open_files() == before);
    BOOST_TEST(l.loop->is_idle());
    BOOST_TEST(eventually([] { return shared_daemon().clients() == 0; }));
}

BOOST_AUTO_TEST_CASE(a_child_that_exits_or_execs_does_not_affect_connections)
{
    check_leaves_nothing([] {
        bound_loop l;
        {
            live_connections connections(keepalive::on);
            for (int i = 0; i < 5; ++i) {
                BOOST_TEST(status_of_child([] {}) == 0);
                connections.check_served(*l.io);
                BOOST_TEST(status_of_child([] { ::execl("/bin/true", "true", nullptr); }) == 0);
                connections.check_served(*l.io);
            }
        }
        support::run_to_end(*l.io);
    });
}

BOOST_AUTO_TEST_CASE(an_event_callback_may_fork_a_child_that_exits_or_execs)
{
    bound_loop l;
    {
        plain_connection remote(shared_daemon().uri());
        int children = 0;
        pool_events pools(remote.get(), [&] {
            BOOST_TEST(status_of_child([] {}) == 0);
            BOOST_TEST(status_of_child([] { ::execl("/bin/true", "true", nullptr); }) == 0);
            ++children;
        });
        BOOST_TEST(pool_events::provoke(remote.get(), shared_daemon()));
        support::run_until(*l.io, [&] { return children == 2; });
        BOOST_TEST(pool_events::provoke(remote.get(), shared_daemon()));
        support::run_until(*l.io, [&] { return children == 4; });
    }
    support::run_to_end(*l.io);
}

BOOST_AUTO_TEST_SUITE_END()
