// SPDX-License-Identifier: BSL-1.0

// The loop does not own the files that it watches: how it must treat them, and fds that come to refer to
// another file.
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <support/open_files.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>
#include <vector>

namespace conformance {
namespace {

file duplicate(int fd)
{
    return file{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
}

// Moves a file to the fd `number`, which must be free.
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

/// An fd that refers to a regular file, and after reuse() to another file.
class reused_number
{
public:
    explicit reused_number(bool by_regular_file) : by_regular_file_{by_regular_file} {}

    int get() const noexcept
    {
        return number_;
    }

    void reuse()
    {
        // Before the first file is closed, whose inode the new one would get otherwise.
        auto other = make_regular_file("y");
        regular_.close();
        if (by_regular_file_) {
            ends_.reader = renumbered(std::move(other), number_);
            return;
        }
        ends_ = make_pipe_at(number_);
        put(ends_.writer.get(), "x");
    }

private:
    const bool by_regular_file_;
    file regular_ = make_regular_file("x");
    const int number_ = regular_.get();
    pipe_ends ends_;
};

struct fd_reuse_fixture : loop_fixture
{
    /// A watch whose pipe was closed, and the pipe that has its fd now.
    struct reused_fd
    {
        int number;
        registration& stale;
        pipe_ends fresh;
    };

    reused_fd reuse_watched_fd(int events)
    {
        auto old = make_pipe();
        const int number = old.reader.get();
        auto& stale = add_watch(number, events);
        settle();
        old = pipe_ends{};
        return {number, stale, make_pipe_at(number)};
    }

    /// A watch whose fd was closed, and its pipe, which another fd keeps open.
    struct closed_fd
    {
        int number;
        registration& stale;
        file writer;
        file other_fd;
    };

    closed_fd close_watched_fd()
    {
        auto old = make_pipe();
        const int number = old.reader.get();
        auto other_fd = duplicate(number);
        auto& stale = add_watch(number, readable);
        settle();
        old.reader.close();
        return {number, stale, std::move(old.writer), std::move(other_fd)};
    }
};

const differs polls_fds{"libvirt's loop polls the fd, whatever file it refers to now. avirt watches the "
                        "file, because a stream of libvirt's may close its file and leave the watch behind"};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    fd_reuse, fd_reuse_fixture,
    *description("The loop leaves the files that it watches as they are, and an fd may come to refer to "
                 "another file."))

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
    const auto before = support::open_files();
    for (const auto& ends : pairs) {
        add_watch(ends.ours.get(), readable);
        add_watch(ends.ours.get(), writable);
    }
    settle();
    BOOST_TEST(support::open_files() == before);
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
        "libvirt's loop passes all its files to poll(2) in every turn. avirt keeps them registered with the "
        "kernel, so that a turn costs time for the files that are ready, not for all that are watched"))
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

BOOST_AUTO_TEST_CASE(the_kernel_no_longer_watches_when_remove_returns_on_another_thread)
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

BOOST_AUTO_TEST_CASE(an_fd_reused_after_removal_can_be_watched_again)
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
    a_watch_on_a_closed_fd_is_not_called_and_costs_nothing,
    *differs(
        "libvirt's loop keeps polling the closed fd, and never sleeps again. avirt's watches end with their "
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

BOOST_AUTO_TEST_CASE(a_watch_whose_fd_was_closed_does_not_report_the_next_file, *polls_fds)
{
    const auto [number, stale, fresh] = reuse_watched_fd(readable);
    put(fresh.writer.get(), "x");
    settle();
    BOOST_TEST(stale.calls() == 0);
    BOOST_TEST(stale.remove() == 0);
    BOOST_TEST(unread_bytes(number) == 1);
}

BOOST_AUTO_TEST_CASE(a_watch_on_a_closed_regular_file_does_not_report_the_next_file)
{
    auto regular = make_regular_file("x");
    const int number = regular.get();
    auto& stale = add_watch(number, readable);
    run_until([&] { return stale.calls() > 0; });
    regular.close();
    const auto fresh = make_pipe_at(number);
    const int before = stale.calls();
    settle();
    BOOST_TEST(stale.calls() == before);
    BOOST_TEST(stale.remove() == 0);
}

BOOST_AUTO_TEST_CASE(a_new_watch_works_beside_a_stale_one_on_the_same_fd)
{
    const auto [number, stale, fresh] = reuse_watched_fd(readable);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    stale.update(0);
    stale.update(readable);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    BOOST_TEST(stale.remove() == 0);
    put(fresh.writer.get(), "d");
    run_until([&] { return watch.calls() == 4; });
    watch.remove();
    BOOST_TEST(!in_an_epoll_set(number));
}

BOOST_AUTO_TEST_CASE(stale_and_new_watches_on_one_fd_are_kept_apart, *polls_fds)
{
    const auto [number, stale, fresh] = reuse_watched_fd(readable);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    BOOST_TEST(stale.calls() == 0);
    stale.update(0);
    stale.update(readable);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    BOOST_TEST(stale.calls() == 0);
}

BOOST_AUTO_TEST_CASE(a_disabled_stale_watch_is_kept_apart_too)
{
    const auto [number, stale, fresh] = reuse_watched_fd(0);
    auto& watch = add_watch(number, readable, drain_one);
    put(fresh.writer.get(), "a");
    run_until([&] { return watch.calls() == 1; });
    BOOST_TEST(stale.remove() == 0);
    put(fresh.writer.get(), "b");
    run_until([&] { return watch.calls() == 2; });
    BOOST_TEST(stale.calls() == 0);
}

BOOST_AUTO_TEST_CASE(an_fd_reused_by_a_regular_file_can_be_watched)
{
    auto sockets = make_socket_pair();
    const int number = sockets.ours.get();
    auto& stale = add_watch(number, readable);
    settle();
    sockets = socket_ends{};
    const auto regular = renumbered(make_regular_file("x"), number);
    auto& watch = add_watch(number, readable);
    run_until([&] { return watch.calls() > 2; });
    stale.remove();
    const int before = watch.calls();
    run_until([&] { return watch.calls() > before + 2; });
}

BOOST_AUTO_TEST_CASE(a_stale_watch_does_not_report_a_regular_file_on_its_fd, *polls_fds)
{
    auto sockets = make_socket_pair();
    const int number = sockets.ours.get();
    auto& stale = add_watch(number, readable);
    settle();
    sockets = socket_ends{};
    const auto regular = renumbered(make_regular_file("x"), number);
    auto& watch = add_watch(number, readable);
    run_until([&] { return watch.calls() > 2; });
    BOOST_TEST(stale.calls() == 0);
}

BOOST_AUTO_TEST_CASE(the_reused_fd_of_a_regular_file_can_be_watched)
{
    for (const bool by_regular_file : {false, true}) {
        reused_number number{by_regular_file};
        auto& stale = add_watch(number.get(), readable);
        run_until([&] { return stale.calls() > 2; });
        number.reuse();
        auto& watch = add_watch(number.get(), readable);
        run_until([&] { return watch.calls() > 5; });
        BOOST_TEST(stale.remove() == 0);
        const int so_far = watch.calls();
        run_until([&] { return watch.calls() > so_far + 5; });
        watch.remove();
    }
}

BOOST_AUTO_TEST_CASE(a_stale_watch_on_a_regular_file_is_silent_beside_a_new_one, *polls_fds)
{
    for (const bool by_regular_file : {false, true}) {
        reused_number number{by_regular_file};
        auto& stale = add_watch(number.get(), readable);
        run_until([&] { return stale.calls() > 2; });
        number.reuse();
        auto& watch = add_watch(number.get(), readable);
        const int before = stale.calls();
        run_until([&] { return watch.calls() > 5; });
        BOOST_TEST(stale.calls() == before);
        BOOST_TEST(stale.remove() == 0);
        watch.remove();
    }
}

// An epoll set keeps watching the file of a closed fd as long as the file lives.
BOOST_AUTO_TEST_CASE(an_old_file_that_is_still_open_is_not_reported_to_the_new_watch)
{
    const auto old = close_watched_fd();
    const auto fresh = make_pipe_at(old.number);
    auto& watch = add_watch(old.number, readable, drain_one);
    put(old.writer.get(), "the old file is ready");
    settle();
    BOOST_TEST(watch.calls() == 0);
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    settle();
    BOOST_TEST(watch.calls() == 2);
    BOOST_TEST(watch.all_events() == readable);

    BOOST_TEST(old.stale.remove() == 0);
    settle();
    BOOST_TEST(watch.calls() == 2);
    put(fresh.writer.get(), "c");
    run_until([&] { return watch.calls() == 3; });
    watch.remove();
    BOOST_TEST(unread_bytes(old.other_fd.get()) == 21);
}

BOOST_AUTO_TEST_CASE(the_watch_of_an_old_file_that_is_still_open_does_not_report_the_new_file, *polls_fds)
{
    const auto old = close_watched_fd();
    const auto fresh = make_pipe_at(old.number);
    auto& watch = add_watch(old.number, readable, drain_one);
    settle();
    const int before = old.stale.calls();
    put(fresh.writer.get(), "ab");
    run_until([&] { return watch.calls() == 2; });
    settle();
    BOOST_TEST(old.stale.calls() == before);
}

BOOST_AUTO_TEST_CASE(an_old_file_that_is_still_open_costs_nothing_once_its_watch_is_removed)
{
    const auto old = close_watched_fd();
    put(old.writer.get(), "the old file is ready");
    BOOST_TEST(old.stale.remove() == 0);
    run_until([&] { return old.stale.frees() == 1; });
    settle();
    auto& sleeping = add_timer(3'600'000);
    BOOST_TEST(loop.comes_to_rest());
    BOOST_TEST(sleeping.calls() == 0);
}

BOOST_AUTO_TEST_CASE(an_old_file_may_return_to_its_fd)
{
    for (const bool removed_meanwhile : {false, true}) {
        auto ends = make_pipe();
        const int number = ends.reader.get();
        const auto other_fd = duplicate(number);
        auto& before = add_watch(number, readable);
        settle();
        ends.reader.close();
        if (removed_meanwhile)
            BOOST_TEST(before.remove() == 0);
        ends.reader = renumbered(duplicate(other_fd.get()), number);
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

BOOST_AUTO_TEST_CASE(the_hangup_of_an_old_file_is_not_reported_to_the_new_watch)
{
    auto old = make_socket_pair();
    const int number = old.ours.get();
    const auto other_fd = duplicate(number);
    auto& stale = add_watch(number, readable);
    settle();
    old.ours.close();
    const auto fresh = make_pipe_at(number);
    auto& watch = add_watch(number, readable, drain_one);
    old.peer.close();
    settle();
    BOOST_TEST(watch.calls() == 0);
    stale.remove();
    put(fresh.writer.get(), "x");
    run_until([&] { return watch.calls() == 1; });
    BOOST_TEST(watch.events() == readable);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
