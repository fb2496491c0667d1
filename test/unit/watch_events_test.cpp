// SPDX-License-Identifier: BSL-1.0
#include "loop/unpollable_files.hpp"
#include "loop/watch_events.hpp"

#include <boost/test/unit_test.hpp>

#include <array>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using avirt::detail::events_to_report;
using avirt::detail::from_epoll;
using avirt::detail::to_epoll;
using avirt::detail::unpollable_files;

constexpr int readable = VIR_EVENT_HANDLE_READABLE;
constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;
constexpr int error = VIR_EVENT_HANDLE_ERROR;
constexpr int hangup = VIR_EVENT_HANDLE_HANGUP;

} // namespace

BOOST_AUTO_TEST_SUITE(watch_events)

BOOST_AUTO_TEST_CASE(events_are_converted)
{
    for (const int events : {readable, writable, readable | writable})
        BOOST_TEST(from_epoll(to_epoll(events)) == events);
    BOOST_TEST(from_epoll(EPOLLERR | EPOLLHUP) == (error | hangup));
}

BOOST_AUTO_TEST_CASE(a_mask_for_nothing_is_not_level_triggered)
{
    BOOST_TEST((to_epoll(0) & EPOLLET) != 0u);
    BOOST_TEST((to_epoll(readable) & EPOLLET) == 0u);
}

BOOST_AUTO_TEST_CASE(a_watch_hears_what_it_asks_for_and_of_errors)
{
    BOOST_TEST(events_to_report(-1, readable, readable | writable) == readable);
    BOOST_TEST(events_to_report(-1, writable, readable | error | hangup) == (error | hangup));
}

BOOST_AUTO_TEST_CASE(a_hang_up_is_held_back_while_bytes_are_unread)
{
    std::array<int, 2> ends{};
    char byte = 'x';
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    BOOST_REQUIRE(::send(ends[1], &byte, 1, 0) == 1);
    BOOST_TEST(events_to_report(ends[0], readable, readable | error | hangup) == readable);
    BOOST_TEST(events_to_report(ends[0], writable, readable | hangup) == hangup);
    BOOST_REQUIRE(::recv(ends[0], &byte, 1, 0) == 1);
    BOOST_TEST(events_to_report(ends[0], readable, readable | hangup) == (readable | hangup));
    ::close(ends[0]);
    ::close(ends[1]);
}

BOOST_AUTO_TEST_CASE(a_hang_up_of_a_pipe_is_reported_at_once)
{
    std::array<int, 2> ends{};
    BOOST_REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    BOOST_REQUIRE(::write(ends[1], "x", 1) == 1);
    BOOST_TEST(events_to_report(ends[0], readable, readable | hangup) == (readable | hangup));
    ::close(ends[0]);
    ::close(ends[1]);
}

BOOST_AUTO_TEST_CASE(a_file_is_told_from_another_under_its_number)
{
    unpollable_files files;
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    BOOST_REQUIRE(fd >= 0);
    files.reserve_one();
    files.add(fd);
    BOOST_TEST(files.contains(fd));
    BOOST_TEST(files.is_same_file(0));
    const int other = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    BOOST_REQUIRE(::dup3(other, fd, O_CLOEXEC) == fd);
    BOOST_TEST(!files.contains(fd));
    BOOST_TEST(!files.is_same_file(0));
    ::close(other);
    ::close(fd);
    BOOST_TEST(!files.contains(fd));
    files.remove(fd);
    BOOST_TEST(files.size() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
