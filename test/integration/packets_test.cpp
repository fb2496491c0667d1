// SPDX-License-Identifier: BSL-1.0
#include "peer_fixture.hpp"

#include <avirt/transfer_packets.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <string>

// The packets of large writes, and what a pending write allocates.

namespace {

struct counted_fixture : packet_counter, remote_fixture
{
    counted_fixture() : remote_fixture(daemon_behind, between.uri()) {}

    std::size_t largest_sent()
    {
        const auto sent = packets();
        return sent.empty() ? 0 : *std::max_element(sent.begin(), sent.end());
    }
};

BOOST_FIXTURE_TEST_SUITE(packets_of_composed_operations, counted_fixture)

BOOST_AUTO_TEST_CASE(async_write_fills_packets)
{
    const auto source = content(make_volume("source", 3'000'000));
    const auto path = make_volume("target", 0);
    open_stream(upload("target"));
    outcome written;
    asio::async_write(stream, asio::buffer(source), avirt::transfer_packets(), written.handler());
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    BOOST_TEST(written.bytes() == source.size());
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
    BOOST_TEST(largest_sent() == avirt::transfer_packets::largest_packet);
}

BOOST_AUTO_TEST_CASE(async_write_of_its_own_accord_does_not)
{
    const std::string source(1'000'000, 'x');
    make_volume("target", 0);
    open_stream(upload("target"));
    outcome written;
    asio::async_write(stream, asio::buffer(source), written.handler());
    run_until_done(written);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(largest_sent() == 64u * 1024);
}

BOOST_AUTO_TEST_CASE(async_read_and_its_end)
{
    const auto source = content(make_volume("source", 1'000'000));
    open_stream(download("source"));
    std::string received(source.size() + 1, '\0');
    outcome read;
    asio::async_read(stream, asio::buffer(received), avirt::transfer_packets(), read.handler());
    run_until_done(read);
    BOOST_TEST(read.ec() == asio::error::eof);
    BOOST_TEST_REQUIRE(read.bytes() == source.size());
    received.resize(source.size());
    BOOST_TEST((received == source));
}

BOOST_AUTO_TEST_SUITE_END()

/// Counts the bytes that are allocated and not freed.
template <class T>
struct counting_allocator
{
    using value_type = T;
    std::size_t* allocated;

    explicit counting_allocator(std::size_t& count) : allocated(&count) {}

    template <class U>
    counting_allocator(const counting_allocator<U>& other) : allocated(other.allocated)
    {
    }

    T* allocate(std::size_t n)
    {
        *allocated += n * sizeof(T);
        return static_cast<T*>(::operator new(n * sizeof(T)));
    }

    void deallocate(T* p, std::size_t n)
    {
        *allocated -= n * sizeof(T);
        ::operator delete(p);
    }

    template <class U>
    bool operator==(const counting_allocator<U>& other) const
    {
        return allocated == other.allocated;
    }
};

BOOST_FIXTURE_TEST_CASE(a_pending_write_uses_the_handlers_allocator, remote_fixture)
{
    make_volume("full", 0);
    open_stream(upload("full"));
    daemon.freeze();
    const std::string packet(100'000, 'x');
    error_code ec;
    while (!ec)
        stream.write_some(asio::buffer(packet), ec);
    BOOST_TEST(ec == asio::error::would_block);
    std::size_t allocated = 0;
    std::size_t left = 1;
    outcome written;
    stream.async_write_some(
        asio::buffer(packet),
        asio::bind_allocator(
            counting_allocator<std::byte>(allocated),
            [&, note = written.handler()](error_code e, std::size_t n) {
                left = allocated;
                note(e, n);
            }));
    io.poll();
    BOOST_TEST(!written);
    BOOST_TEST(allocated > 0u);
    daemon.thaw();
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    BOOST_TEST(left == 0u);
}

} // namespace
