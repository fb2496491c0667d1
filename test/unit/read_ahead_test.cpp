// SPDX-License-Identifier: BSL-1.0
#include "stream/read_ahead.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string>

namespace {

using avirt::detail::read_ahead;

std::string take(read_ahead& from, std::size_t size, bool stops_at_hole = false)
{
    std::string result(size, '?');
    result.resize(from.take(boost::asio::buffer(result), stops_at_hole));
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(read_ahead_buffer)

BOOST_AUTO_TEST_CASE(bytes_come_out_in_order_whatever_the_pieces)
{
    read_ahead ahead;
    std::string expected, received;
    for (int i = 0; i < 1000; ++i) {
        const std::string packet(static_cast<std::size_t>(i * 37 % 5000), static_cast<char>('a' + i % 26));
        ahead.append(packet);
        expected += packet;
        received += take(ahead, static_cast<std::size_t>(i * 53 % 4000));
    }
    while (!ahead.empty())
        received += take(ahead, 1000);
    BOOST_TEST((received == expected));
    BOOST_TEST(ahead.size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_hole_is_read_as_zeros)
{
    read_ahead ahead;
    ahead.append("before");
    ahead.append_hole(3);
    ahead.append_hole(2);
    ahead.append("after");
    BOOST_TEST(take(ahead, 8) == std::string("before\0\0", 8));
    BOOST_TEST(take(ahead, 100) == std::string("\0\0\0after", 8));
    BOOST_TEST(ahead.empty());
}

BOOST_AUTO_TEST_CASE(a_hole_is_a_place_to_stop)
{
    read_ahead ahead;
    ahead.append("before");
    ahead.append_hole(5);
    BOOST_TEST(!ahead.begins_with_hole());
    BOOST_TEST(ahead.take_hole() == 0u);
    BOOST_TEST(take(ahead, 8, true) == "before");
    BOOST_TEST(take(ahead, 8, true).empty());
    BOOST_TEST(ahead.is_hole());
    BOOST_TEST(take(ahead, 2) == std::string(2, '\0')); // A part of it, as zeros.
    ahead.append("after");
    BOOST_TEST(ahead.begins_with_hole());
    BOOST_TEST(!ahead.is_hole());
    BOOST_TEST(ahead.take_hole() == 3u);
    BOOST_TEST(take(ahead, 8, true) == "after");
}

BOOST_AUTO_TEST_CASE(a_hole_costs_nothing_whatever_its_length)
{
    constexpr std::uint64_t tebibyte = std::uint64_t{1} << 40;
    read_ahead ahead;
    for (int i = 0; i < 1000; ++i)
        ahead.append_hole(tebibyte);
    ahead.append_hole(~std::uint64_t{0}); // The sum does not fit into a number.
    BOOST_TEST(ahead.size() < 1000u);
    BOOST_TEST(take(ahead, 100) == std::string(100, '\0'));
    BOOST_TEST(!ahead.empty());
}

BOOST_AUTO_TEST_CASE(memory_is_given_back_as_it_is_read)
{
    constexpr std::size_t mebibyte = 1024 * 1024;
    read_ahead ahead;
    for (int i = 0; i < 16; ++i)
        ahead.append(std::string(mebibyte, 'x'));
    BOOST_TEST(ahead.size() >= 16 * mebibyte);
    take(ahead, 15 * mebibyte);
    BOOST_TEST(ahead.size() < 3 * mebibyte);
}

BOOST_AUTO_TEST_CASE(small_packets_share_their_memory)
{
    read_ahead ahead;
    for (int i = 0; i < 10'000; ++i)
        ahead.append("x");
    BOOST_TEST(ahead.size() < 11'000u);
}

BOOST_AUTO_TEST_CASE(nothing_is_neither_bytes_nor_a_hole)
{
    read_ahead ahead;
    ahead.append("");
    ahead.append_hole(0);
    BOOST_TEST(ahead.empty());
    BOOST_TEST(take(ahead, 10).empty());
}

BOOST_AUTO_TEST_SUITE_END()
