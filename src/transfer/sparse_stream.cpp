// SPDX-License-Identifier: BSL-1.0
#include "transfer/sparse_stream.hpp"

#include "core/await_operation.hpp"

#include <avirt/transfer_packets.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

namespace avirt::detail {

sparse_source::sparse_source(std::shared_ptr<stream_impl> stream, std::function<void()> on_zeros)
    : stream_(std::move(stream)),
      on_zeros_(std::move(on_zeros)),
      stopped_before_(stream_->stop_at_holes(true))
{
}

sparse_source::~sparse_source()
{
    stream_->stop_at_holes(stopped_before_);
}

asio::awaitable<transferred> sparse_source::read(asio::mutable_buffer buffer)
{
    transferred result;
    std::tie(result.error.code, result.bytes) =
        co_await await_operation<void(error_code, std::size_t)>([&](auto handler) {
            stream_->async_read(
                mutable_buffer_list(buffer), io_handler(std::move(handler)), &result.error.details);
        });
    co_return result;
}

asio::awaitable<transferred> sparse_source::read_some(asio::mutable_buffer buffer)
{
    auto result = co_await read(buffer);
    const bool knows_no_holes = result.bytes == 0 && result.error.code == condition::not_supported;
    if (!knows_no_holes || !std::exchange(stops_, false))
        co_return result;
    if (on_zeros_)
        on_zeros_();
    stream_->stop_at_holes(false);
    co_return co_await read(buffer);
}

asio::awaitable<hole> sparse_source::read_hole()
{
    hole result;
    std::tie(result.error.code, result.length) =
        co_await await_operation<void(error_code, std::uint64_t)>([&](auto handler) {
            stream_->async_read_hole(hole_handler(std::move(handler)), &result.error.details);
        });
    co_return result;
}

asio::awaitable<transferred> sparse_sink::write(asio::const_buffer bytes)
{
    transferred result;
    std::tie(result.error.code, result.bytes) =
        co_await await_operation<void(error_code, std::size_t)>([&](auto handler) {
            stream_->async_write(
                const_buffer_list(bytes), io_handler(std::move(handler)), &result.error.details);
        });
    co_return result;
}

asio::awaitable<failure> sparse_sink::write_hole(std::uint64_t length)
{
    wait_result result;
    stream_->try_write_hole(length, result);
    if (result.ending.code == condition::not_supported)
        co_return co_await write_zeros(length);
    co_return std::move(result.ending);
}

failure sparse_sink::skip(std::uint64_t length)
{
    wait_result result;
    stream_->try_write_hole(length, result);
    return result.ending.code == condition::not_supported ? failure() : std::move(result.ending);
}

asio::awaitable<failure> sparse_sink::write_zeros(std::uint64_t length)
{
    const std::vector<std::byte> zeros(
        static_cast<std::size_t>(std::min<std::uint64_t>(length, transfer_packets::largest_packet)));
    while (length != 0) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeros.size()));
        auto written = co_await write(asio::buffer(zeros, size));
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (!written.error && cancellation.cancelled() != asio::cancellation_type::none)
            written.error = error_code(asio::error::operation_aborted);
        if (written.error)
            co_return written.error;
        length -= written.bytes;
    }
    co_return failure();
}

} // namespace avirt::detail
