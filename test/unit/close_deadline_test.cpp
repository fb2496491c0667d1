// SPDX-License-Identifier: BSL-1.0
#include "loop/close_deadline.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <memory>

#include <sys/socket.h>
#include <unistd.h>

namespace {

using avirt::detail::close_deadline;
using avirt::detail::connection_socket;
using avirt::detail::dispatch_scheduler;
using avirt::detail::event_tables;

/// A connection whose socket is one end of a pair. The other end is the daemon, which says nothing.
struct deadline_fixture
{
    event_tables tables;
    dispatch_scheduler scheduler{tables, [] {}};
    close_deadline deadlines{tables, scheduler};
    std::array<int, 2> ends{-1, -1};
    std::shared_ptr<connection_socket> socket = std::make_shared<connection_socket>();

    deadline_fixture()
    {
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        socket->fd = ends[0];
    }

    ~deadline_fixture()
    {
        ::close(ends[0]);
        ::close(ends[1]);
    }

    bool has_deadline() const
    {
        return socket->close_timer != 0;
    }

    /// Calls back the timer whose time is over.
    void expire()
    {
        auto* t = tables.timeouts.next_due(event_tables_clock::now() + std::chrono::hours(1));
        BOOST_REQUIRE(t);
        const auto timer = *t;
        timer.callback(timer.id, timer.opaque);
    }

    bool is_shut_down() const
    {
        char byte;
        return ::recv(ends[1], &byte, 1, MSG_DONTWAIT) == 0;
    }

    using event_tables_clock = avirt::detail::timeout_table::clock;
};

BOOST_FIXTURE_TEST_SUITE(close_deadline_, deadline_fixture)

BOOST_AUTO_TEST_CASE(what_waits_on_a_connection_that_is_in_use_has_all_the_time)
{
    deadlines.begin_use(socket);
    deadlines.begin_wait(socket);
    BOOST_TEST(!has_deadline());
    deadlines.end_wait(socket);
    deadlines.end_use(socket);
    BOOST_TEST(!has_deadline());
}

BOOST_AUTO_TEST_CASE(what_still_waits_after_the_use_is_interrupted)
{
    deadlines.begin_use(socket);
    deadlines.begin_wait(socket);
    deadlines.end_use(socket);
    BOOST_TEST(has_deadline());
    BOOST_TEST(!is_shut_down());
    expire();
    BOOST_TEST(is_shut_down());
    BOOST_TEST((socket->ended_by == connection_socket::end::interrupted));
    BOOST_TEST(!has_deadline());
    BOOST_TEST(tables.timeouts.size() == 0u);
}

BOOST_AUTO_TEST_CASE(the_deadline_ends_with_the_wait)
{
    deadlines.begin_wait(socket);
    BOOST_TEST(has_deadline());
    deadlines.end_wait(socket);
    BOOST_TEST(!has_deadline());
    BOOST_TEST(tables.timeouts.size() == 0u);
}

BOOST_AUTO_TEST_CASE(the_time_starts_anew_with_each_change)
{
    deadlines.begin_wait(socket);
    const int first = socket->close_timer;
    deadlines.begin_wait(socket);
    BOOST_TEST(has_deadline());
    BOOST_TEST(socket->close_timer != first);
    BOOST_TEST(tables.timeouts.size() == 1u);
    deadlines.end_wait(socket);
    BOOST_TEST(has_deadline());
}

BOOST_AUTO_TEST_CASE(on_a_shared_connection_only_the_closing_is_interrupted)
{
    deadlines.begin_wait(socket);
    deadlines.share(socket);
    BOOST_TEST(!has_deadline());
    deadlines.begin_closing(socket);
    BOOST_TEST(has_deadline());
    deadlines.end_closing(socket);
    BOOST_TEST(!has_deadline());
}

BOOST_AUTO_TEST_CASE(a_connection_without_a_socket_has_no_deadline)
{
    socket->fd = -1;
    deadlines.begin_closing(socket);
    BOOST_TEST(!has_deadline());
}

BOOST_AUTO_TEST_CASE(its_timers_are_not_libvirts)
{
    deadlines.begin_wait(socket);
    BOOST_TEST(tables.timeouts.size() == tables.timeouts.internal_size());
    deadlines.end_wait(socket);
    BOOST_TEST(tables.timeouts.internal_size() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
