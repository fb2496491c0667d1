// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <avirt/event_source.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/read.hpp>

#include <string>

#include <sys/wait.h>
#include <unistd.h>

// Tests children that are forked in the handler of an operation, while a worker thread may still be finishing
// that operation.

namespace {

struct fork_fixture : operations_fixture
{
    /// Returns a handler that forks. The child calls in_child; the parent waits until the child has ended.
    template <class Function>
    auto forking(const outcome& o, Function in_child)
    {
        return [this, in_child, h = o.handler()](error_code ec, auto&&...) mutable {
            io.notify_fork(asio::execution_context::fork_prepare);
            const pid_t pid = ::fork();
            if (pid == 0) {
                ::alarm(20);
                io.notify_fork(asio::execution_context::fork_child);
                int status = 99;
                try {
                    status = in_child();
                }
                catch (...) {
                }
                ::_exit(status);
            }
            io.notify_fork(asio::execution_context::fork_parent);
            int status = -1;
            BOOST_TEST_REQUIRE(::waitpid(pid, &status, 0) == pid);
            BOOST_TEST_REQUIRE(status == 0); // 14, SIGALRM: the child hangs.
            h(ec);
        };
    }

    /// Runs each operation once, and forks in its handler.
    template <class Function>
    void run_through(Function in_child)
    {
        outcome opened, called, opened_stream, subscribed, unsubscribed, finished, closed;
        conn.async_open("test:///default", forking(opened, in_child));
        run_until_done(opened);
        conn.async_call(virConnectNumOfDomains, forking(called, in_child));
        run_until_done(called);
        stream.async_open(conn, avirt::screenshot{"test"}, forking(opened_stream, in_child));
        run_until_done(opened_stream);
        {
            avirt::event_source<avirt::domain_lifecycle> events(conn);
            events.async_subscribe(forking(subscribed, in_child));
            run_until_done(subscribed);
            events.async_unsubscribe(forking(unsubscribed, in_child));
            run_until_done(unsubscribed);
        }
        stream.async_finish(forking(finished, in_child));
        run_until_done(finished);
        conn.async_close(forking(closed, in_child));
        run_until_done(closed);
        for (const auto& o : {opened, called, opened_stream, subscribed, unsubscribed, finished, closed})
            BOOST_TEST(o.ec() == error_code());
    }
};

constexpr int rounds = 30; // of seven forks each

BOOST_FIXTURE_TEST_SUITE(forks, fork_fixture)

BOOST_AUTO_TEST_CASE(a_child_opens_its_own_connection)
{
    for (int i = 0; i < rounds; ++i)
        run_through([this] {
            avirt::connection own(io);
            outcome opened, called;
            own.async_open("test:///default", opened.handler());
            run_until_done(opened);
            own.async_call(virConnectNumOfDomains, called.handler());
            run_until_done(called);
            return opened.ec() || called.ec() ? 1 : 0;
        });
}

BOOST_AUTO_TEST_CASE(a_child_takes_none_of_the_data_that_the_parent_reads)
{
    // Every screenshot contains the same data.
    const auto read_all = [this](std::string& picture) {
        outcome read;
        asio::async_read(stream, asio::dynamic_buffer(picture), read.handler());
        run_until_done(read);
        BOOST_TEST(read.ec() == asio::error::eof);
        stream.close();
    };
    std::string picture, shared_picture;
    make_readable();
    read_all(picture);
    outcome opened, readable, forked;
    stream.async_open(conn, avirt::screenshot{"test"}, opened.handler());
    run_until_done(opened);
    stream.async_wait(wait_type::read, readable.handler());
    run_until_done(readable);
    conn.async_call(virConnectNumOfDomains, forking(forked, [this] {
                        outcome read, waited;
                        stream.async_wait(wait_type::error, waited.handler());
                        stream.async_read_some(asio::buffer(memory), read.handler());
                        run_until_done(read);
                        return read.ec() == avirt::condition::connection_lost ? 0 : 1;
                    }));
    run_until_done(forked);
    read_all(shared_picture);
    BOOST_TEST(!picture.empty());
    BOOST_TEST((shared_picture == picture));
}

BOOST_AUTO_TEST_CASE(a_child_closes_what_it_inherits)
{
    for (int i = 0; i < rounds; ++i)
        run_through([this] {
            stream.close();
            conn.close();
            run_until([this] { return loop.stats().running_calls + loop.stats().queued_calls == 0; });
            return 0;
        });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
