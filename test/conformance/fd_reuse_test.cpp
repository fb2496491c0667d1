// SPDX-License-Identifier: BSL-1.0

// Whose fd is it: what a loop may do to files that are not its own, and numbers that come to mean another
// file.
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

namespace conformance {
namespace {

file duplicate(int fd)
{
    return file{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
}

// The same file under the number, which must be free.
file renumbered(file from, int number)
{
    if (from.get() == number)
        return from;
    return file{::dup3(from.get(), number, O_CLOEXEC)};
}

bool at_end_of_file(int fd)
{
    char byte = 0;
    return ::recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

void drain_one(registration& self)
{
    take(self.fd(), 1);
}

/// The number of a regular file, and then of another file.
class reused_number
{
public:
    explicit reused_number(bool by_its_like) : by_its_like_{by_its_like} {}

    int get() const noexcept
    {
        return number_;
    }

    void reuse()
    {
        auto other = make_regular_file("y"); // Before the first is closed: its inode would be used again.
        regular_.close();
        if (by_its_like_) {
            ends_.reader = renumbered(std::move(other), number_);
            return;
        }
        ends_ = make_pipe_at(number_);
        put(ends_.writer.get(), "x");
    }

private:
    const bool by_its_like_;
    file regular_ = make_regular_file("x");
    const int number_ = regular_.get();
    pipe_ends ends_;
};

const differs polls_numbers{
    "libvirt's loop polls a number, whatever file has it now. avirt watches the file: a stream of "
    "libvirt's may close its file and leave the watch behind"};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    fd_reuse, loop_fixture,
    *description(
        "Files are not the loop's own, and are left as they are; a number may come to mean another file."))

BOOST_AUTO_TEST_CASE(no_flag_is_changed)
{
    const auto sockets = make_socket_pair();
    const auto pipes = make_pipe();
    const auto regular = make_regular_file("x");
    for (const int fd : {sockets.ours.get(), pipes.reader.get(), pipes.writer.get(), regular.get()}) {
        const int status = status_flags(fd);
        const int descriptor = ::fcntl(fd, F_GETFD);
        BOOST_TEST((status & O_NONBLOCK) == 0);
        auto& watch = add_watch(fd, readable | writable);
        settle();
        BOOST_TEST(status_flags(fd) == status);
        watch.update(0);
        settle();
        watch.update(readable);
        settle();
        watch.remove();
        run_until([&] { return watch.frees() == 1; });
        BOOST_TEST(status_flags(fd) == status);
        BOOST_TEST(::fcntl(fd, F_GETFD) == descriptor);
    }
}

BOOST_AUTO_TEST_CASE(no_fd_is_duplicated)
{
    // The loop may open files of its own on first use.
    add_timer(1).remove();
    const auto first = make_pipe();
    add_watch(first.reader.get(), readable).remove();
    settle();
    std::vector<socket_ends> pairs(10);
    for (auto& ends : pairs)
        ends = make_socket_pair();
    const int before = open_files();
    for (const auto& ends : pairs) {
        add_watch(ends.ours.get(), readable);
        add_watch(ends.ours.get(), writable);
    }
    settle();
    BOOST_TEST(open_files() == before);
}

BOOST_AUTO_TEST_CASE(the_peer_sees_the_end_as_soon_as_the_fd_is_closed)
{
    for (const int events : {0, readable, readable | writable}) {
        auto ends = make_socket_pair();
        auto& watch = add_watch(ends.ours.get(), events);
        settle();
        watch.remove();
        ends.ours.close();
        BOOST_TEST(at_end_of_file(ends.peer.get()));
    }
}

BOOST_AUTO_TEST_CASE(
    a_watched_file_is_in_an_epoll_set,
    *differs(
        "libvirt's loop hands all its files to poll(2) at every turn. avirt leaves them with the kernel, so "
        "that a turn costs what is ready, not what is watched"))
{
    const auto ends = make_socket_pair();
    add_watch(ends.ours.get(), readable);
    settle();
    BOOST_TEST(in_an_epoll_set(ends.ours.get()));
}

BOOST_AUTO_TEST_CASE(the_kernel_no_longer_watches_when_remove_returns)
{
    const auto ends = make_socket_pair();
    const int fd = ends.ours.get();
    auto& first = add_watch(fd, readable);
    auto& second = add_watch(fd, writable);
    settle();
    first.remove();
    second.remove();
    BOOST_TEST(!in_an_epoll_set(fd));
    auto& disabled = add_watch(fd, 0);
    disabled.remove();
    BOOST_TEST(!in_an_epoll_set(fd));
}

BOOST_AUTO_TEST_CASE(the_kernel_no_longer_watches_when_remove_returns_elsewhere)
{
    const auto ends = make_socket_pair();
    const int fd = ends.ours.get();
    bool still_watched = false;
    for (int i = 0; i < 100; ++i) {
        auto& watch = add_watch(fd, readable | writable);
        const int before = watch.calls();
        helper_thread helper{[&] {
            eventually([&] { return watch.calls() > before; });
            watch.remove();
            still_watched = still_watched || in_an_epoll_set(fd);
        }};
        run_until([&] { return helper.finished(); });
    }
    BOOST_TEST(!still_watched);
}

BOOST_AUTO_TEST_CASE(a_number_closed_after_removal_can_be_watched_again)
{
    auto ends = make_pipe();
    const int number = ends.reader.get();
    for (int i = 0; i < 50; ++i) {
        auto& watch = add_watch(number, readable, drain_one);
        put(ends.writer.get(), "x");
        if (i % 2 == 0)
            run_until([&] { return watch.calls() == 1; });
        watch.remove();
        ends = pipe_ends{};
        ends = make_pipe_at(number);
    }
    auto& last = add_watch(number, readable, drain_one);
    settle();
    BOOST_TEST(last.calls() == 0);
    put(ends.writer.get(), "x");
    run_until([&] { return last.calls() == 1; });
}

BOOST_AUTO_TEST_CASE(
    a_watch_on_a_closed_fd_hears_nothing_and_costs_nothing,
    *differs(
        "libvirt's loop goes on polling the number, and sleeps no more. For avirt the watches end with the "
        "file"))
{
    for (const int events : {0, readable, readable | writable}) {
        auto pipes = make_pipe();
        auto sockets = make_socket_pair();
        auto regular = make_regular_file("x");
        auto& on_pipe = add_watch(pipes.reader.get(), events);
        auto& on_socket = add_watch(sockets.ours.get(), events);
        auto& on_regular = add_watch(regular.get(), events);
        settle();
        pipes.reader.close();
        sockets.ours.close();
        regular.close();
        const int before = on_pipe.calls() + on_socket.calls() + on_regular.calls();
        auto& marker = add_timer(0);
        run_until([&] { return marker.calls() >= 10; });
        marker.remove();
        BOOST_TEST(on_pipe.calls() + on_socket.calls() + on_regular.calls() == before);
        BOOST_TEST(loop.comes_to_rest());
        BOOST_TEST(on_pipe.remove() + on_socket.remove() + on_regular.remove() == 0);
    }
}

BOOST_AUTO_TEST_CASE(a_watch_whose_fd_was_closed_hears_nothing_of_the_next_file, *polls_numbers)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    auto& forgotten = add_watch(number, readable);
    settle();
    old = pipe_ends{};
    const auto fresh = make_pipe_at(number);
    put(fresh.writer.get(), "x");
    settle();
    BOOST_TEST(forgotten.calls() == 0);
    BOOST_TEST(forgotten.remove() == 0);
    BOOST_TEST(unread_bytes(number) == 1);
}

BOOST_AUTO_TEST_CASE(a_watch_whose_file_could_not_be_polled_hears_nothing_of_the_next)
{
    auto regular = make_regular_file("x");
    const int number = regular.get();
    auto& forgotten = add_watch(number, readable);
    run_until([&] { return forgotten.calls() > 0; });
    regular.close();
    const auto fresh = make_pipe_at(number);
    const int before = forgotten.calls();
    settle();
    BOOST_TEST(forgotten.calls() == before);
    BOOST_TEST(forgotten.remove() == 0);
}

BOOST_AUTO_TEST_CASE(a_new_watch_works_beside_an_old_one_on_its_number)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    auto& forgotten = add_watch(number, readable);
    settle();
    old = pipe_ends{};
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    forgotten.update(0);
    forgotten.update(readable);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    BOOST_TEST(forgotten.remove() == 0);
    put(fresh.writer.get(), "d");
    run_until([&] { return watch.calls() == 4; });
    watch.remove();
    BOOST_TEST(!in_an_epoll_set(number));
}

BOOST_AUTO_TEST_CASE(old_and_new_watches_on_one_number_are_kept_apart, *polls_numbers)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    auto& forgotten = add_watch(number, readable);
    settle();
    old = pipe_ends{};
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    BOOST_TEST(forgotten.calls() == 0);
    forgotten.update(0);
    forgotten.update(readable);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    BOOST_TEST(forgotten.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_disabled_old_watch_is_kept_apart_too)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    auto& forgotten = add_watch(number, 0);
    settle();
    old = pipe_ends{};
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "a");
    run_until([&] { return watch.calls() == 1; });
    BOOST_TEST(forgotten.remove() == 0);
    put(fresh.writer.get(), "b");
    run_until([&] { return watch.calls() == 2; });
    BOOST_TEST(forgotten.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_number_reused_by_a_file_that_cannot_be_polled)
{
    auto sockets = make_socket_pair();
    const int number = sockets.ours.get();
    auto& forgotten = add_watch(number, readable);
    settle();
    sockets = socket_ends{};
    const auto regular = renumbered(make_regular_file("x"), number);
    auto& watch = add_watch(number, readable);
    run_until([&] { return watch.calls() > 2; });
    forgotten.remove();
    const int before = watch.calls();
    run_until([&] { return watch.calls() > before + 2; });
}

BOOST_AUTO_TEST_CASE(an_old_watch_hears_nothing_of_a_next_file_that_cannot_be_polled, *polls_numbers)
{
    auto sockets = make_socket_pair();
    const int number = sockets.ours.get();
    auto& forgotten = add_watch(number, readable);
    settle();
    sockets = socket_ends{};
    const auto regular = renumbered(make_regular_file("x"), number);
    auto& watch = add_watch(number, readable);
    run_until([&] { return watch.calls() > 2; });
    BOOST_TEST(forgotten.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_number_of_a_file_that_cannot_be_polled_reused)
{
    for (const bool by_its_like : {false, true}) {
        reused_number number{by_its_like};
        auto& forgotten = add_watch(number.get(), readable);
        run_until([&] { return forgotten.calls() > 2; });
        number.reuse();
        auto& watch = add_watch(number.get(), readable);
        run_until([&] { return watch.calls() > 5; });
        BOOST_TEST(forgotten.remove() == 0);
        const int so_far = watch.calls();
        run_until([&] { return watch.calls() > so_far + 5; });
        watch.remove();
    }
}

BOOST_AUTO_TEST_CASE(an_old_watch_on_a_file_that_cannot_be_polled_hears_nothing_of_the_next, *polls_numbers)
{
    for (const bool by_its_like : {false, true}) {
        reused_number number{by_its_like};
        auto& forgotten = add_watch(number.get(), readable);
        run_until([&] { return forgotten.calls() > 2; });
        number.reuse();
        auto& watch = add_watch(number.get(), readable);
        const int before = forgotten.calls();
        run_until([&] { return watch.calls() > 5; });
        BOOST_TEST(forgotten.calls() == before);
        BOOST_TEST(forgotten.remove() == 0);
        watch.remove();
    }
}

// An epoll set goes on watching a closed fd's file as long as the file lives.
BOOST_AUTO_TEST_CASE(an_old_file_that_lives_on_does_not_reach_the_new_watch)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    const auto ghost = duplicate(number);
    auto& forgotten = add_watch(number, readable);
    settle();
    old.reader.close();
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    put(old.writer.get(), "the old file is ready");
    settle();
    BOOST_TEST(watch.calls() == 0);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    settle();
    BOOST_TEST(watch.calls() == 2);
    BOOST_TEST(watch.all_events() == readable);

    BOOST_TEST(forgotten.remove() == 0);
    settle();
    BOOST_TEST(watch.calls() == 2);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    watch.remove();
    BOOST_TEST(unread_bytes(ghost.get()) == 21);
}

BOOST_AUTO_TEST_CASE(the_watch_of_an_old_file_that_lives_on_hears_nothing_of_the_new_file, *polls_numbers)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    const auto ghost = duplicate(number);
    auto& forgotten = add_watch(number, readable);
    settle();
    old.reader.close();
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    settle();
    const int before = forgotten.calls();
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    settle();
    BOOST_TEST(forgotten.calls() == before);
}

BOOST_AUTO_TEST_CASE(an_old_file_that_lives_on_costs_nothing_once_its_watch_is_removed)
{
    auto old = make_pipe();
    const int number = old.reader.get();
    const auto ghost = duplicate(number);
    auto& forgotten = add_watch(number, readable);
    settle();
    old.reader.close();
    put(old.writer.get(), "the old file is ready");
    BOOST_TEST(forgotten.remove() == 0);
    run_until([&] { return forgotten.frees() == 1; });
    settle();
    auto& sleeping = add_timer(3'600'000);
    BOOST_TEST(loop.comes_to_rest());
    BOOST_TEST(sleeping.calls() == 0);
}

BOOST_AUTO_TEST_CASE(an_old_file_may_come_back_under_its_number)
{
    for (const bool removed_meanwhile : {false, true}) {
        auto ends = make_pipe();
        const int number = ends.reader.get();
        const auto ghost = duplicate(number);
        auto& before = add_watch(number, readable);
        settle();
        ends.reader.close();
        if (removed_meanwhile)
            BOOST_TEST(before.remove() == 0);
        ends.reader = renumbered(duplicate(ghost.get()), number);
        auto& watch = add_watch(number, readable, drain_one);
        put(ends.writer.get(), "ab");
        run_until([&] { return watch.calls() == 2; });
        settle();
        BOOST_TEST(watch.calls() == 2);
        BOOST_TEST(!(removed_meanwhile && before.calls() > 0));
        if (!removed_meanwhile)
            BOOST_TEST(before.remove() == 0);
        put(ends.writer.get(), "c");
        run_until([&] { return watch.calls() == 3; });
        watch.remove();
        BOOST_TEST(!in_an_epoll_set(number));
    }
}

BOOST_AUTO_TEST_CASE(the_hangup_of_an_old_file_does_not_reach_the_new_watch)
{
    auto old = make_socket_pair();
    const int number = old.ours.get();
    const auto ghost = duplicate(number);
    auto& forgotten = add_watch(number, readable);
    settle();
    old.ours.close();
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    old.peer.close();
    settle();
    BOOST_TEST(watch.calls() == 0);
    forgotten.remove();
    put(fresh.writer.get(), "x");
    run_until([&] { return watch.calls() == 1; });
    BOOST_TEST(watch.events() == readable);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
