// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/socket.h>

namespace conformance {
namespace {

struct readiness_fixture : loop_fixture
{
    void expect_as_poll_reports(int fd)
    {
        const int flags = status_flags(fd);
        for (const int events : {readable, writable, readable | writable}) {
            const int expected = poll_now(fd, events);
            BOOST_TEST_CONTEXT("asked for " << events << ", poll reports " << expected)
            {
                auto& watch = add_watch(fd, events);
                if (expected == 0)
                    settle();
                else
                    run_until([&] { return watch.calls() >= 3; });
                BOOST_TEST(watch.events() == expected);
                BOOST_TEST(watch.all_events() == expected);
                BOOST_TEST(status_flags(fd) == flags);
                watch.remove();
            }
        }
        auto& disabled = add_watch(fd, 0);
        settle();
        BOOST_TEST(disabled.calls() == 0);
        BOOST_TEST(loop.comes_to_rest());
        disabled.remove();
        BOOST_TEST(status_flags(fd) == flags);
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    readiness, readiness_fixture,
    *description("A watch reports what poll(2) reports, for files of every kind."))

BOOST_AUTO_TEST_CASE(an_empty_pipe)
{
    const auto ends = make_pipe();
    expect_as_poll_reports(ends.reader.get());
    expect_as_poll_reports(ends.writer.get());
}

BOOST_AUTO_TEST_CASE(a_pipe_with_data)
{
    const auto ends = make_pipe();
    put(ends.writer.get(), "x");
    expect_as_poll_reports(ends.reader.get());
}

BOOST_AUTO_TEST_CASE(a_pipe_whose_writer_is_closed)
{
    auto ends = make_pipe();
    ends.writer.close();
    BOOST_TEST(poll_now(ends.reader.get(), readable) == hangup);
    expect_as_poll_reports(ends.reader.get());
}

BOOST_AUTO_TEST_CASE(a_pipe_with_data_whose_writer_is_closed)
{
    auto ends = make_pipe();
    put(ends.writer.get(), "x");
    ends.writer.close();
    BOOST_TEST(poll_now(ends.reader.get(), readable) == (readable | hangup));
    expect_as_poll_reports(ends.reader.get());
}

BOOST_AUTO_TEST_CASE(a_pipe_whose_reader_is_closed)
{
    auto ends = make_pipe();
    ends.reader.close();
    BOOST_TEST(poll_now(ends.writer.get(), writable) == (writable | error));
    expect_as_poll_reports(ends.writer.get());
}

BOOST_AUTO_TEST_CASE(an_idle_socket)
{
    const auto ends = make_socket_pair();
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_socket_with_data)
{
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_drained_socket_whose_peer_is_closed)
{
    auto ends = make_socket_pair();
    ends.peer.close();
    BOOST_TEST(poll_now(ends.ours.get(), readable) == (readable | hangup));
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_socket_whose_peer_has_shut_down_writing)
{
    auto ends = make_socket_pair();
    BOOST_REQUIRE(::shutdown(ends.peer.get(), SHUT_WR) == 0);
    BOOST_TEST(poll_now(ends.ours.get(), readable) == readable);
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_socket_with_data_whose_peer_has_shut_down_writing)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    BOOST_REQUIRE(::shutdown(ends.peer.get(), SHUT_WR) == 0);
    BOOST_TEST(poll_now(ends.ours.get(), readable) == readable);
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_socket_shut_down_both_ways)
{
    auto ends = make_socket_pair();
    BOOST_REQUIRE(::shutdown(ends.ours.get(), SHUT_RDWR) == 0);
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_tcp_socket)
{
    const auto ends = make_tcp_pair();
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_terminal)
{
    const auto ends = make_pty();
    expect_as_poll_reports(ends.ours.get());
    put(ends.peer.get(), "x");
    BOOST_REQUIRE(eventually([&] { return (poll_now(ends.ours.get(), readable) & readable) != 0; }));
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_terminal_whose_other_side_is_closed)
{
    auto ends = make_pty();
    ends.peer.close();
    BOOST_REQUIRE(eventually([&] { return (poll_now(ends.ours.get(), readable) & hangup) != 0; }));
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(a_terminal_with_data_whose_other_side_is_closed)
{
    auto ends = make_pty();
    put(ends.peer.get(), "x");
    ends.peer.close();
    BOOST_REQUIRE(eventually([&] { return poll_now(ends.ours.get(), readable) == (readable | hangup); }));
    expect_as_poll_reports(ends.ours.get());
}

BOOST_AUTO_TEST_CASE(an_event_counter)
{
    const auto zero = make_event_counter(0);
    expect_as_poll_reports(zero.get());
    const auto one = make_event_counter(1);
    expect_as_poll_reports(one.get());
}

BOOST_AUTO_TEST_CASE(a_regular_file_is_always_ready)
{
    const auto regular = make_regular_file("content");
    BOOST_TEST(poll_now(regular.get(), readable | writable) == (readable | writable));
    expect_as_poll_reports(regular.get());
}

BOOST_AUTO_TEST_CASE(the_null_device_is_always_ready)
{
    const auto null = open_null();
    BOOST_TEST(poll_now(null.get(), readable | writable) == (readable | writable));
    expect_as_poll_reports(null.get());
}

BOOST_AUTO_TEST_CASE(a_watch_for_nothing_but_errors_and_hangups)
{
    auto read_end = make_pipe();
    auto write_end = make_pipe();
    auto socket = make_socket_pair();
    put(read_end.writer.get(), "x");
    put(socket.peer.get(), "x");
    auto& of_reader = add_watch(read_end.reader.get(), hangup);
    auto& of_writer = add_watch(write_end.writer.get(), error);
    auto& of_socket = add_watch(socket.ours.get(), error | hangup);
    settle();
    BOOST_TEST(of_reader.calls() + of_writer.calls() + of_socket.calls() == 0);
    read_end.writer.close();
    write_end.reader.close();
    socket.peer.close();
    run_until([&] { return of_reader.calls() > 1 && of_writer.calls() > 1 && of_socket.calls() > 1; });
    BOOST_TEST(of_reader.all_events() == hangup);
    BOOST_TEST(of_writer.all_events() == error);
    BOOST_TEST(of_socket.all_events() == hangup);
}

BOOST_AUTO_TEST_CASE(many_watches_on_a_regular_file)
{
    const auto regular = make_regular_file("content");
    auto& reads = add_watch(regular.get(), readable);
    auto& writes = add_watch(regular.get(), writable, [](registration& self) { self.update(0); });
    run_until([&] { return reads.calls() >= 3 && writes.calls() == 1; });
    BOOST_TEST(reads.all_events() == readable);
    BOOST_TEST(writes.all_events() == writable);
    writes.update(writable);
    reads.remove();
    run_until([&] { return writes.calls() == 2; });
    settle();
    BOOST_TEST(writes.calls() == 2);
}

BOOST_AUTO_TEST_CASE(a_regular_file_does_not_starve_the_others)
{
    const auto regular = make_regular_file("content");
    const auto ends = make_socket_pair();
    auto& always = add_watch(regular.get(), readable);
    auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { take(self.fd(), 1); });
    auto& timer = add_timer(1);
    put(ends.peer.get(), "0123456789");
    run_until([&] { return always.calls() > 10 && watch.calls() == 10 && timer.calls() > 2; });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
