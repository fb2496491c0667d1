// SPDX-License-Identifier: BSL-1.0
#include "comparison.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

using namespace asio::experimental::awaitable_operators;

namespace {

constexpr auto throwing = asio::use_awaitable;
constexpr auto returning = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t piece_size = 1024 * 1024;

asio::awaitable<void> open(
    avirt::async_stream& stream, const volume& v, std::uint64_t begin, std::uint64_t end)
{
    avirt::volume_download part{v.where(), begin, end - begin};
    part.sparse = true;
    co_await stream.async_open(v.host(), part, avirt::with_details(throwing));
}

/// Reads as much as the buffer holds, or up to the end of the volume. Holes are read as zeros.
asio::awaitable<std::size_t> read(avirt::async_stream& stream, std::vector<char>& buffer)
{
    avirt::error_details why;
    const auto [ec, n] = co_await asio::async_read(
        stream, asio::buffer(buffer), avirt::transfer_packets(), avirt::with_details(returning, why));
    if (ec && ec != asio::error::eof)
        throw avirt::exception(ec, why);
    co_return n;
}

} // namespace

asio::awaitable<std::uint64_t> equal_bytes(volume a, volume b, std::uint64_t size)
{
    if (size == 0) // A length of 0 would mean the whole volume.
        co_return 0;
    const auto executor = co_await asio::this_coro::executor;
    avirt::async_stream from_a{executor};
    avirt::async_stream from_b{executor};
    co_await (open(from_a, a, 0, size) && open(from_b, b, 0, size));
    std::vector<char> in_a(piece_size);
    std::vector<char> in_b(piece_size);
    for (std::uint64_t equal = 0;;) {
        const auto [n_a, n_b] = co_await (read(from_a, in_a) && read(from_b, in_b));
        const auto n = std::min(n_a, n_b);
        if (std::memcmp(in_a.data(), in_b.data(), n) != 0) {
            const auto different = std::mismatch(in_a.begin(), in_a.end(), in_b.begin()).first;
            co_return equal + static_cast<std::uint64_t>(different - in_a.begin());
        }
        equal += n;
        if (n_a < piece_size || n_b < piece_size)
            co_return equal;
    }
}

asio::awaitable<std::uint64_t> end_of_data(volume v, std::uint64_t begin, std::uint64_t end)
{
    auto data_end = begin;
    if (begin >= end)
        co_return data_end;
    avirt::async_stream stream{co_await asio::this_coro::executor};
    stream.stop_at_holes(true);
    co_await open(stream, v, begin, end);
    std::vector<char> buffer(piece_size);
    for (auto position = begin;;) {
        avirt::error_details why;
        const auto [ec, n] =
            co_await stream.async_read_some(asio::buffer(buffer), avirt::with_details(returning, why));
        position += n;
        if (n > 0)
            data_end = position;
        if (ec == avirt::error::at_hole)
            position += co_await stream.async_read_hole(avirt::with_details(throwing));
        else if (ec == asio::error::eof)
            co_return data_end;
        else if (ec)
            throw avirt::exception(ec, why);
    }
}
