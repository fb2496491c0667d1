// SPDX-License-Identifier: BSL-1.0

// A hang-up or an error that arrives with unread bytes (docs/libvirt.md, "Hang-up").
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/socket.h>

#include <string>
#include <utility>

namespace conformance {
namespace {

const differs tells_at_once{
    "libvirt's loop reports a hang-up to a reader while bytes are unread. libvirt's client then reads one "
    "message and closes its socket, and the other messages are lost"};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    hangups, loop_fixture,
    *description("A peer that closes while its bytes are unread, or while the watch is disabled."))

BOOST_AUTO_TEST_CASE(a_reader_is_told_of_a_hangup_when_the_socket_is_empty, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "0123456789");
    ends.peer.close();
    int with_bytes = 0;
    int without = 0;
    auto& watch = add_watch(ends.ours.get(), readable, [&](registration& self) {
        (unread_bytes(self.fd()) > 0 ? with_bytes : without) |= self.events();
        if (take(self.fd(), 3).empty())
            self.remove();
    });
    run_until([&] { return watch.frees() == 1; });
    BOOST_TEST(watch.calls() == 5);
    BOOST_TEST(with_bytes == readable);
    BOOST_TEST(without == (readable | hangup));
}

BOOST_AUTO_TEST_CASE(a_reader_that_closes_at_the_hangup_has_read_everything, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), std::string(50, 'x'));
    ends.peer.close();
    std::string got;
    auto& watch = add_watch(ends.ours.get(), readable, [&](registration& self) {
        got += take(self.fd(), 5);
        if ((self.events() & (hangup | error)) != 0)
            self.remove();
    });
    run_until([&] { return watch.frees() == 1; });
    BOOST_TEST(got.size() == 50u);
}

BOOST_AUTO_TEST_CASE(a_reader_that_does_not_read_is_not_told_of_a_hangup, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    ends.peer.close();
    auto& watch = add_watch(ends.ours.get(), readable);
    run_until([&] { return watch.calls() >= 100; });
    BOOST_TEST(watch.all_events() == readable);
}

BOOST_AUTO_TEST_CASE(an_error_is_held_back_like_a_hangup, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.ours.get(), "never read");
    put(ends.peer.get(), "01234");
    ends.peer.close();
    BOOST_TEST(poll_now(ends.ours.get(), readable) == (readable | error | hangup));
    int with_bytes = 0;
    int without = 0;
    auto& watch = add_watch(ends.ours.get(), readable, [&](registration& self) {
        (unread_bytes(self.fd()) > 0 ? with_bytes : without) |= self.events();
        if (take(self.fd(), 1).empty())
            self.remove();
    });
    run_until([&] { return watch.frees() == 1; });
    BOOST_TEST(watch.calls() == 6);
    BOOST_TEST(with_bytes == readable);
    BOOST_TEST(without == (readable | error | hangup));
}

BOOST_AUTO_TEST_CASE(a_tcp_reset_is_held_back_too, *tells_at_once)
{
    auto ends = make_tcp_pair();
    put(ends.ours.get(), "never read");
    put(ends.peer.get(), "01234");
    BOOST_REQUIRE(
        eventually([&] { return unread_bytes(ends.peer.get()) > 0 && unread_bytes(ends.ours.get()) == 5; }));
    ends.peer.close();
    BOOST_REQUIRE(
        eventually([&] { return poll_now(ends.ours.get(), readable) == (readable | error | hangup); }));
    auto& watch = add_watch(ends.ours.get(), readable);
    run_until([&] { return watch.calls() >= 5; });
    BOOST_TEST(watch.all_events() == readable);
    BOOST_TEST(take(ends.ours.get(), 5) == "01234");
    const int before = watch.calls();
    run_until([&] { return watch.calls() > before; });
    BOOST_TEST((watch.events() & hangup) == hangup);
}

BOOST_AUTO_TEST_CASE(a_reader_and_writer_is_told_of_a_hangup_when_the_socket_is_empty, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    ends.peer.close();
    auto& watch = add_watch(ends.ours.get(), readable | writable);
    run_until([&] { return watch.calls() >= 3; });
    BOOST_TEST(watch.all_events() == (readable | writable));
}

BOOST_AUTO_TEST_CASE(a_reader_and_writer_is_still_told_that_it_can_write)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    ends.peer.close();
    const int now = poll_now(ends.ours.get(), readable | writable);
    BOOST_TEST(now == (readable | writable | hangup));
    auto& watch = add_watch(ends.ours.get(), readable | writable);
    run_until([&] { return watch.calls() >= 3; });
    BOOST_TEST((watch.events() & (readable | writable)) == (readable | writable));
    take(ends.ours.get(), 1);
    const int before = watch.calls();
    run_until([&] { return watch.calls() > before; });
    BOOST_TEST(watch.events() == now);
}

BOOST_AUTO_TEST_CASE(a_writer_is_told_of_a_hangup_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    ends.peer.close();
    auto& watch = add_watch(ends.ours.get(), writable);
    run_until([&] { return watch.calls() >= 3; });
    BOOST_TEST(watch.all_events() == (writable | hangup));
}

BOOST_AUTO_TEST_CASE(a_reader_and_a_writer_on_one_socket_get_their_own_events, *tells_at_once)
{
    auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    ends.peer.close();
    auto& reader = add_watch(ends.ours.get(), readable);
    auto& writer = add_watch(ends.ours.get(), writable);
    run_until([&] { return reader.calls() >= 3 && writer.calls() >= 3; });
    BOOST_TEST(reader.all_events() == readable);
    BOOST_TEST(writer.all_events() == (writable | hangup));
}

BOOST_AUTO_TEST_CASE(a_disabled_watch_is_not_called_and_costs_nothing)
{
    auto ends = make_socket_pair();
    auto& watch = add_watch(ends.ours.get(), 0);
    put(ends.ours.get(), "never read");
    put(ends.peer.get(), "x");
    ends.peer.close();
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(loop.comes_to_rest());
    take(ends.ours.get(), 1);
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(loop.comes_to_rest());
    watch.update(readable);
    run_until([&] { return watch.calls() >= 2; });
    BOOST_TEST((watch.events() & (readable | hangup)) == (readable | hangup));
}

BOOST_AUTO_TEST_CASE(a_watch_disabled_while_the_peer_closes_is_told_when_enabled)
{
    auto ends = make_socket_pair();
    auto& watch = add_watch(ends.ours.get(), readable);
    settle();
    watch.update(0);
    ends.peer.close();
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(loop.comes_to_rest());
    watch.update(readable);
    run_until([&] { return watch.calls() >= 1; });
    BOOST_TEST(watch.events() == (readable | hangup));
}

BOOST_AUTO_TEST_CASE(the_end_of_a_file_whose_watches_are_all_disabled_is_reported_when_one_is_enabled)
{
    auto read_end = make_pipe();
    auto write_end = make_pipe();
    auto terminal = make_pty();
    auto failed = make_socket_pair();
    put(failed.ours.get(), "never read");
    for (const int fd :
         {read_end.reader.get(), write_end.writer.get(), terminal.ours.get(), failed.ours.get()}) {
        add_watch(fd, readable).update(0);
        add_watch(fd, 0);
    }
    settle();
    read_end.writer.close();
    write_end.reader.close();
    terminal.peer.close();
    failed.peer.close();
    BOOST_REQUIRE(eventually([&] { return poll_now(terminal.ours.get(), 0) == hangup; }));
    BOOST_TEST(loop.comes_to_rest());
    for (const auto& [fd, end] :
         {std::pair{read_end.reader.get(), hangup}, std::pair{write_end.writer.get(), error},
          std::pair{terminal.ours.get(), hangup}, std::pair{failed.ours.get(), error | hangup}}) {
        auto& woken = add_watch(fd, 0);
        woken.update(readable);
        run_until([&] { return woken.calls() >= 2; });
        BOOST_TEST((woken.events() & (error | hangup)) == end);
        woken.update(0);
        const int before = woken.calls();
        BOOST_TEST(loop.comes_to_rest());
        BOOST_TEST(woken.calls() == before);
    }
}

BOOST_AUTO_TEST_CASE(bytes_that_arrive_after_one_half_is_shut_down_are_not_taken_for_a_hangup)
{
    auto ends = make_socket_pair();
    BOOST_REQUIRE(::shutdown(ends.ours.get(), SHUT_WR) == 0);
    put(ends.peer.get(), "abc");
    std::string got;
    auto& watch =
        add_watch(ends.ours.get(), readable, [&](registration& self) { got += take(self.fd(), 1); });
    run_until([&] { return watch.calls() == 3; });
    settle();
    BOOST_TEST(got == "abc");
    BOOST_TEST(watch.all_events() == readable);
    ends.peer.close();
    run_until([&] { return watch.calls() > 3; });
    BOOST_TEST(watch.events() == (readable | hangup));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
