// SPDX-License-Identifier: BSL-1.0
#include "loop/connection_socket.hpp"

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

// A socket takes at once what room_to_send() reports.

namespace {

namespace data = boost::unit_test::data;
using avirt::detail::connection_socket;
using avirt::detail::room_to_send;

/// Size of the header that libvirt puts before the bytes of a stream.
constexpr ssize_t header = 28;

struct connected_sockets
{
    std::array<int, 2> fds{-1, -1};

    explicit connected_sockets(int domain)
    {
        if (domain == AF_UNIX) {
            BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
            return;
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
        auto* a = reinterpret_cast<sockaddr*>(&address);
        socklen_t size = sizeof address;
        const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        fds[0] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        BOOST_REQUIRE(::bind(listener, a, size) == 0);
        BOOST_REQUIRE(::listen(listener, 1) == 0);
        BOOST_REQUIRE(::getsockname(listener, a, &size) == 0);
        BOOST_REQUIRE(::connect(fds[0], a, size) == 0);
        fds[1] = ::accept(listener, nullptr, nullptr);
        BOOST_REQUIRE(fds[1] >= 0);
        ::close(listener);
    }

    ~connected_sockets()
    {
        ::close(fds[0]);
        ::close(fds[1]);
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(connection_socket_)

BOOST_DATA_TEST_CASE(
    what_it_says_fits,
    data::make({AF_UNIX, AF_INET}) * data::make({0, 1, 32 * 1024, 512 * 1024})
        * data::make({1, 4096, 5000, 65536, 262120}),
    domain, send_buffer, wanted)
{
    const connected_sockets sockets(domain);
    if (send_buffer != 0)
        ::setsockopt(sockets.fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    connection_socket socket;
    socket.fd = sockets.fds[0];
    std::vector<char> bytes(1024 * 1024);
    // Many small messages first: they take more of the buffer than their bytes.
    const int no_delay = 1;
    ::setsockopt(sockets.fds[0], IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    for (int i = 0; i < 2000 && room_to_send(socket, 1) != 0; ++i)
        BOOST_REQUIRE_EQUAL(::send(sockets.fds[0], bytes.data(), 1 + header, MSG_DONTWAIT), 1 + header);
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 1000; ++i) { // A peer that reads nothing takes no more some time.
            const auto room = room_to_send(socket, static_cast<std::size_t>(wanted));
            if (room == 0)
                break;
            const auto size = std::min(room, static_cast<std::size_t>(wanted)) + std::size_t{header};
            const auto sent = ::send(sockets.fds[0], bytes.data(), size, MSG_DONTWAIT);
            BOOST_REQUIRE_EQUAL(sent, static_cast<ssize_t>(size));
        }
        const auto piece = static_cast<std::size_t>(1 + round * 7919 % 300'000);
        ::recv(sockets.fds[1], bytes.data(), piece, MSG_DONTWAIT);
    }
}

BOOST_DATA_TEST_CASE(
    it_stays_writable_in_between,
    data::make({0, 1, 32 * 1024, 512 * 1024}) * data::make({4096, 5000, 65536, 262120}), send_buffer, wanted)
{
    // libvirt polls before each record of TLS.
    constexpr std::size_t record = 16 * 1024;
    constexpr std::size_t record_overhead = 29;
    const connected_sockets sockets(AF_INET);
    if (send_buffer != 0)
        ::setsockopt(sockets.fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    connection_socket socket;
    socket.fd = sockets.fds[0];
    std::vector<char> bytes(1024 * 1024);
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 1000; ++i) {
            const auto room = room_to_send(socket, static_cast<std::size_t>(wanted));
            if (room == 0)
                break;
            for (auto left = room + std::size_t{header}; left > 0;) {
                pollfd p{.fd = sockets.fds[0], .events = POLLOUT, .revents = 0};
                BOOST_REQUIRE_EQUAL(::poll(&p, 1, 0), 1);
                const auto plain = std::min(left, record);
                const auto size = plain + record_overhead;
                const auto sent = ::send(sockets.fds[0], bytes.data(), size, MSG_DONTWAIT);
                BOOST_REQUIRE_EQUAL(sent, static_cast<ssize_t>(size));
                left -= plain;
            }
        }
        const auto piece = static_cast<std::size_t>(1 + round * 7919 % 300'000);
        ::recv(sockets.fds[1], bytes.data(), piece, MSG_DONTWAIT);
    }
}

BOOST_AUTO_TEST_CASE(an_enlarged_buffer_takes_the_largest_packet)
{
    const connected_sockets sockets(AF_UNIX);
    connection_socket socket;
    socket.fd = sockets.fds[0];
    avirt::detail::enlarge_send_buffer(socket);
    BOOST_TEST(room_to_send(socket, 262120) == 262120u);
}

BOOST_AUTO_TEST_CASE(no_socket)
{
    const connection_socket socket;
    BOOST_TEST(room_to_send(socket, 1) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
