// SPDX-License-Identifier: BSL-1.0
#include "peer_fixture.hpp"

#include <avirt/transfer_packets.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/write.hpp>

#include <cstddef>
#include <new>
#include <string>
#include <vector>

// The packets of large writes, and what a pending write allocates.

namespace {

struct counted_fixture : packet_counter, remote_fixture
{
    counted_fixture() : remote_fixture(daemon_behind, between.uri()) {}

    /// Checks that all packets have that size, except the last, which contains the rest of the data.
    void check_packets(std::size_t size, std::size_t total)
    {
        std::vector<std::size_t> expected(total / size, size);
        if (total % size != 0)
            expected.push_back(total % size);
        BOOST_TEST(packets() == expected, boost::test_tools::per_element());
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
    check_packets(avirt::transfer_packets::largest_packet, source.size());
}

BOOST_AUTO_TEST_CASE(asio_async_write_sends_64_KiB)
{
    const std::string source(1'000'000, 'x');
    make_volume("target", 0);
    open_stream(upload("target"));
    outcome written;
    asio::async_write(stream, asio::buffer(source), written.handler());
    run_until_done(written);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(written.ec() == error_code());
    check_packets(64 * 1024, source.size());
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
