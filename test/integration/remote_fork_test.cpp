// SPDX-License-Identifier: BSL-1.0
#include "event_operations.hpp"
#include "remote_fixture.hpp"

#include <boost/asio/execution_context.hpp>

#include <memory>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

// A forked child that uses libvirt while the parent keeps its connections.

namespace {

struct fork_fixture : with_events<remote_fixture>
{
    std::optional<avirt::connection> used;
    std::optional<lifecycle_source> source;
    outcome received;

    fork_fixture()
    {
        open(used.emplace(io));
        BOOST_REQUIRE(!subscribe(source.emplace(*used)));
        received = start_receive(*source);
        run_until([&] { return loop.stats().running_calls == 0; });
    }

    /// Runs the function in a forked child, which notify_fork() gives its own epoll set. Returns the child's
    /// exit status: the function's result, 99 if it threw, or 128 plus the number of the signal that ended
    /// it.
    template <class Function>
    int in_child(Function function)
    {
        io.notify_fork(asio::execution_context::fork_prepare);
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::alarm(60);
            io.notify_fork(asio::execution_context::fork_child);
            int status = 99;
            try {
                status = function();
            }
            catch (...) {
            }
            ::_exit(status);
        }
        io.notify_fork(asio::execution_context::fork_parent);
        siginfo_t ended{};
        run_until([&] {
            return ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG) == 0
                && ended.si_pid == pid;
        });
        return ended.si_code == CLD_EXITED ? ended.si_status : 128 + ended.si_status;
    }

    /// Checks that the parent's connection and event source still work.
    void expect_unharmed()
    {
        outcome counted;
        used->async_call(virConnectNumOfDomains, counted.handler());
        run_until_done(counted);
        BOOST_TEST(counted.ec() == error_code());
        BOOST_TEST(!received);
        call([xml = daemon.guest_xml("forked", avirt_demo_guest)](virConnectPtr c) {
            const avirt::domain guest{virDomainDefineXML(c, xml.c_str())};
            if (!guest || virDomainUndefine(guest.get()) < 0)
                avirt::throw_last_error();
        });
        run_until_done(received);
        BOOST_TEST(received.ec() == error_code());
    }
};

BOOST_FIXTURE_TEST_SUITE(remote_fork, fork_fixture)

BOOST_AUTO_TEST_CASE(in_the_child_the_connection_is_lost)
{
    BOOST_TEST(
        in_child([&] {
            run_until_done(received);
            if (received.ec() != avirt::condition::connection_lost)
                return 1;
            outcome closed;
            used->async_wait_closed(
                [h = closed.handler()](error_code ec, avirt::close_reason) mutable { h(ec); });
            run_until_done(closed);
            return closed.ec() ? 2 : 0;
        })
        == 0);
    expect_unharmed();
}

BOOST_AUTO_TEST_CASE(the_child_closes_everything)
{
    BOOST_TEST(
        in_child([&] {
            source.reset();
            used.reset();
            conn.close();
            run_until([&] { return loop.stats().watches == 0 && loop.is_idle(); });
            return 0;
        })
        == 0);
    expect_unharmed();
}

BOOST_AUTO_TEST_CASE(the_child_opens_its_own_connection)
{
    BOOST_TEST(
        in_child([&] {
            avirt::connection own{io};
            outcome opened, counted;
            own.async_open(uri, opened.handler());
            run_until_done(opened);
            own.async_call(virConnectNumOfDomains, counted.handler());
            run_until_done(counted);
            return opened.ec() || counted.ec() ? 1 : 0;
        })
        == 0);
    expect_unharmed();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
