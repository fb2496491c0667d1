// SPDX-License-Identifier: BSL-1.0
#include "volume.hpp"
#include "sha256.hpp"

asio::awaitable<avirt::volume_info> volume::info() const
{
    return avirt::async_volume_info(*host_, where(), avirt::with_details(asio::use_awaitable));
}

asio::awaitable<std::string> checksum(volume v, std::uint64_t size, avirt::transfer_limits limits)
{
    sha256 sum;
    if (size == 0) // A length of 0 would mean the whole volume.
        co_return sum.digits();
    avirt::volume_download whole{v.where(), 0, size};
    whole.sparse = true; // Zeros in the place of holes are made here, and not sent.
    avirt::async_stream stream{co_await asio::this_coro::executor};
    co_await stream.async_open(v.host(), whole, avirt::with_details(asio::use_awaitable));
    avirt::transfer_options options;
    options.limits = limits;
    const auto update = [&sum](asio::const_buffer data) { sum.update(data); };
    co_await avirt::async_receive_all(stream, update, options, avirt::with_details(asio::use_awaitable));
    co_await stream.async_finish(avirt::with_details(asio::use_awaitable));
    co_return sum.digits();
}
