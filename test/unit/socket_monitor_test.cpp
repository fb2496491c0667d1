// SPDX-License-Identifier: BSL-1.0
#include "loop/socket_monitor.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <memory>

#include <sys/socket.h>
#include <unistd.h>

namespace {

using avirt::detail::close_deadline;
using avirt::detail::connection_socket;
using avirt::detail::dispatch_scheduler;
using avirt::detail::event_tables;
using avirt::detail::socket_monitor;
using avirt::detail::socket_observer;
using avirt::detail::socket_search;
using end = connection_socket::end;

struct counting_observer final : socket_observer
{
    int served = 0;
    int lost = 0;

    void on_served() override
    {
        ++served;
    }

    void on_lost() override
    {
        ++lost;
    }
};

/// libvirt watches one end of a pair. The other end is the daemon.
struct monitor_fixture
{
    event_tables tables;
    dispatch_scheduler scheduler{tables, [] {}};
    close_deadline deadlines{tables, scheduler};
    socket_monitor sockets{tables, deadlines};
    std::array<int, 2> ends{-1, -1};
    std::shared_ptr<connection_socket> socket = std::make_shared<connection_socket>();

    monitor_fixture()
    {
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        tables.open_files();
    }

    ~monitor_fixture()
    {
        ::close(ends[0]);
        ::close(ends[1]);
    }

    /// libvirt adds a watch of the connection's socket, on a thread that opens it or on any other.
    int add_watch(std::shared_ptr<connection_socket> of = nullptr)
    {
        const unsigned reserved_calls = of ? 1 : 0;
        tables.deferred.reserve(reserved_calls);
        const int id = tables.watches.add(
            {.fd = ends[0],
             .events = VIR_EVENT_HANDLE_READABLE,
             .socket = of,
             .reserved_calls = reserved_calls});
        if (of)
            sockets.attach(*of, id, ends[0]);
        return id;
    }

    bool detach(int id, bool by_keepalive = false)
    {
        return sockets.detach(tables.watches.remove(id), by_keepalive);
    }

    bool is_shut_down() const
    {
        char byte;
        return ::recv(ends[1], &byte, 1, MSG_DONTWAIT) == 0;
    }
};

BOOST_FIXTURE_TEST_SUITE(socket_monitor_, monitor_fixture)

BOOST_AUTO_TEST_CASE(a_socket_is_known_while_it_is_watched)
{
    BOOST_TEST(!socket->is_remote);
    const int id = add_watch(socket);
    BOOST_TEST(socket->is_remote);
    BOOST_TEST(socket->fd == ends[0]);
    detach(id);
    BOOST_TEST(socket->fd == -1);
    BOOST_TEST(socket->is_remote);
}

BOOST_AUTO_TEST_CASE(an_interrupted_connection_is_shut_down)
{
    add_watch(socket);
    BOOST_TEST(!is_shut_down());
    sockets.interrupt(*socket);
    BOOST_TEST(is_shut_down());
    BOOST_TEST((socket->ended_by == end::interrupted));
}

BOOST_AUTO_TEST_CASE(a_connection_that_was_interrupted_before_is_shut_down_when_its_socket_is_known)
{
    sockets.interrupt(*socket);
    add_watch(socket);
    BOOST_TEST(is_shut_down());
}

BOOST_AUTO_TEST_CASE(a_connection_that_others_use_is_not_interrupted)
{
    add_watch(socket);
    deadlines.begin_use(socket);
    deadlines.begin_use(socket);
    sockets.interrupt_unless_used(*socket);
    BOOST_TEST(!is_shut_down());
    deadlines.end_use(socket);
    sockets.interrupt_unless_used(*socket);
    BOOST_TEST(is_shut_down());
}

BOOST_AUTO_TEST_CASE(only_a_connection_that_is_being_closed_is_interrupted_for_that)
{
    add_watch(socket);
    sockets.interrupt_closing(*socket);
    BOOST_TEST(!is_shut_down());
    deadlines.begin_closing(socket);
    sockets.interrupt_closing(*socket);
    BOOST_TEST(is_shut_down());
}

BOOST_AUTO_TEST_CASE(a_loss_has_its_first_reason)
{
    const auto reason = [&](bool by_keepalive, bool is_interrupted) {
        const auto s = std::make_shared<connection_socket>();
        const int id = add_watch(s);
        if (is_interrupted)
            sockets.interrupt(*s);
        detach(id, by_keepalive);
        return s->ended_by.load();
    };
    BOOST_TEST((reason(false, false) == end::peer));
    BOOST_TEST((reason(true, false) == end::silence));
    BOOST_TEST((reason(true, true) == end::interrupted));
}

BOOST_AUTO_TEST_CASE(observers_hear_of_a_loss_later)
{
    const auto observer = std::make_shared<counting_observer>();
    const int unobserved = add_watch(socket);
    BOOST_TEST(!detach(unobserved));
    BOOST_TEST(tables.deferred.size() == 0u);

    const int observed = add_watch(socket);
    sockets.observe(*socket, observer);
    BOOST_TEST(detach(observed));
    BOOST_TEST(tables.deferred.size() == 1u);
    BOOST_TEST(observer->lost == 0);
    BOOST_TEST(tables.deferred.take());
    tables.deferred.run();
    BOOST_TEST(observer->lost == 1);
}

BOOST_AUTO_TEST_CASE(an_observer_is_told_once_and_forgotten_when_it_is_gone)
{
    const auto observer = std::make_shared<counting_observer>();
    sockets.observe(*socket, observer);
    sockets.observe(*socket, observer);
    sockets.observe(*socket, std::make_shared<counting_observer>());
    auto held = tables.acquire();
    BOOST_TEST(sockets.notify(held, *socket, &socket_observer::on_served));
    BOOST_TEST(held.owns_lock());
    BOOST_TEST(observer->served == 1);
    held.unlock();
    sockets.observe(*socket, observer);
    BOOST_TEST(socket->observers.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_search_finds_the_socket_whose_watch_the_thread_updates)
{
    const int id = add_watch();
    socket_search search(socket);
    BOOST_TEST(socket_search::current() == &search);
    BOOST_TEST(!sockets.find(search, id + 1));
    BOOST_TEST(sockets.find(search, id));
    BOOST_TEST(search.found == socket);
    BOOST_TEST(socket->fd == ends[0]);
    BOOST_TEST(!sockets.find(search, id)); // It has ended.
}

BOOST_AUTO_TEST_CASE(a_search_finds_a_socket_that_is_known_already)
{
    const int id = add_watch(socket);
    socket_search search(nullptr);
    BOOST_TEST(sockets.find(search, id));
    BOOST_TEST(search.found == socket);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
