// SPDX-License-Identifier: BSL-1.0
#include "../conformance/lifecycle_child.hpp"

#include <avirt/avirt.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

// If no thread can be created, the operations fail with that error, nothing is left half done, and objects
// are released later.

namespace {

namespace asio = boost::asio;
using avirt::error_code;
using conformance::expect;
using support::outcome;

const error_code no_thread(EAGAIN, boost::system::system_category());

/// The limit on threads does not apply to root.
void give_up_roots_rights()
{
    constexpr uid_t nobody = 65534;
    if (::getuid() == 0
        && (::setresgid(nobody, nobody, nobody) != 0 || ::setresuid(nobody, nobody, nobody) != 0))
        throw std::system_error(errno, std::generic_category(), "setresuid");
}

/// During its lifetime this process cannot create threads.
class shortage
{
public:
    shortage()
    {
        ::getrlimit(RLIMIT_NPROC, &before_);
        auto none = before_;
        none.rlim_cur = 0;
        if (::setrlimit(RLIMIT_NPROC, &none) != 0)
            throw std::system_error(errno, std::generic_category(), "setrlimit");
    }

    ~shortage()
    {
        ::setrlimit(RLIMIT_NPROC, &before_);
    }

    shortage(const shortage&) = delete;
    shortage& operator=(const shortage&) = delete;

private:
    rlimit before_{};
};

/// A connection that libvirt alone has opened, so that avirt has started no thread for it.
virConnectPtr plain_connection()
{
    auto* c = virConnectOpen("test:///default");
    expect(c != nullptr, "virConnectOpen() failed");
    return c;
}

struct without_threads
{
    asio::io_context io;
    avirt::event_loop loop{io};

    without_threads()
    {
        give_up_roots_rights();
    }

    void run_until_done(const outcome& o)
    {
        support::run_until(io, [&] { return o.calls() > 0; });
    }

    void expect_works(avirt::connection& c)
    {
        outcome called;
        c.async_call(virConnectNumOfDomains, called.handler());
        run_until_done(called);
        expect(!called.ec(), "a call failed");
    }
};

BOOST_AUTO_TEST_SUITE(thread_shortage)

BOOST_AUTO_TEST_CASE(an_open_fails_and_can_be_retried)
{
    conformance::expect_success([] {
        without_threads f;
        avirt::connection conn(f.io);
        outcome first, second;
        {
            const shortage s;
            conn.async_open("test:///default", first.handler());
            f.run_until_done(first);
        }
        expect(first.ec() == no_thread, "unexpected error");
        expect(!conn.is_open(), "the connection is open");
        support::run_to_end(f.io);
        conn.async_open("test:///default", second.handler());
        f.run_until_done(second);
        expect(!second.ec(), "the open failed");
        f.expect_works(conn);
        conn.close();
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(a_call_fails_and_can_be_retried)
{
    conformance::expect_success([] {
        without_threads f;
        avirt::connection conn(f.io.get_executor(), plain_connection());
        for (int i = 0; i < 3; ++i) {
            outcome called;
            const shortage s;
            conn.async_call(virConnectNumOfDomains, called.handler());
            f.run_until_done(called);
            expect(called.ec() == no_thread, "unexpected error");
        }
        f.expect_works(conn);
        conn.close();
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(opening_a_stream_fails_and_can_be_retried)
{
    conformance::expect_success([] {
        without_threads f;
        avirt::connection conn(f.io.get_executor(), plain_connection());
        avirt::async_stream stream(f.io);
        outcome first, second;
        {
            const shortage s;
            stream.async_open(conn, avirt::screenshot{"test"}, first.handler());
            f.run_until_done(first);
        }
        expect(first.ec() == no_thread, "unexpected error");
        expect(!stream.is_open(), "the stream is open");
        stream.async_open(conn, avirt::screenshot{"test"}, second.handler());
        f.run_until_done(second);
        expect(!second.ec(), "the open failed");
        stream.close();
        conn.close();
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(finishing_a_stream_fails)
{
    conformance::expect_success([] {
        without_threads f;
        avirt::connection conn(f.io);
        avirt::async_stream stream(f.io);
        outcome connected, opened, finished;
        conn.async_open("test:///default", connected.handler());
        f.run_until_done(connected);
        stream.async_open(conn, avirt::screenshot{"test"}, opened.handler());
        f.run_until_done(opened);
        expect(!opened.ec(), "the open failed");
        support::run_until(f.io, [&] { return f.loop.stats().running_calls == 0; });
        support::gate busy; // Occupies all idle threads.
        for (int i = 0; i < 4; ++i)
            conn.async_call(avirt::own_connection, busy.entry(), [](error_code, int) {});
        support::run_until(f.io, [&] { return busy.arrived() == 4; });
        {
            const shortage s;
            stream.async_finish(finished.handler());
            f.run_until_done(finished);
        }
        expect(finished.ec() == no_thread, "unexpected error");
        busy.open();
        conn.close();
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(a_closed_connection_is_released_later)
{
    conformance::expect_success([] {
        without_threads f;
        auto* c = plain_connection();
        virConnectRef(c);
        avirt::connection conn(f.io.get_executor(), c);
        {
            const shortage s;
            conn.close();
            f.io.run_for(std::chrono::milliseconds(1));
            expect(!f.loop.is_idle(), "released too early");
        }
        support::run_to_end(f.io);
        expect(virConnectClose(c) == 0, "not the last reference");
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(an_async_close_fails_and_the_connection_is_released_later)
{
    conformance::expect_success([] {
        without_threads f;
        auto* c = plain_connection();
        virConnectRef(c);
        avirt::connection conn(f.io.get_executor(), c);
        outcome closed;
        {
            const shortage s;
            conn.async_close(closed.handler());
            f.run_until_done(closed);
        }
        expect(closed.ec() == no_thread, "unexpected error");
        expect(!conn.is_open(), "the connection is open");
        support::run_to_end(f.io);
        expect(virConnectClose(c) == 0, "not the last reference");
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_CASE(a_destroyed_handle_is_released_later)
{
    conformance::expect_success([] {
        without_threads f;
        auto* c = plain_connection();
        avirt::domain domain(virDomainLookupByName(c, "test"));
        virConnectClose(c);
        {
            const shortage s;
            domain = {};
            f.io.run_for(std::chrono::milliseconds(1));
            expect(!f.loop.is_idle(), "released too early");
        }
        support::run_to_end(f.io);
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
