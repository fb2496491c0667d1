// SPDX-License-Identifier: BSL-1.0
#include "transfer/pump.hpp"

#include <avirt/error.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

namespace avirt::detail {
namespace {

bool is_cancelled(const asio::cancellation_state& state) noexcept
{
    return state.cancelled() != asio::cancellation_type::none;
}

class pumping
{
public:
    pumping(
        transfer_source& source, transfer_sink& sink, transfer_meter& meter, bool passes_holes,
        std::size_t buffer_size)
        : source_(source),
          sink_(sink),
          meter_(meter),
          passes_holes_(passes_holes && sink.can_write_holes()),
          size_(std::min(buffer_size, meter.largest_piece()))
    {
    }

    asio::awaitable<failure> run()
    {
        for (;;) {
            // Before each operation: a cancellation may have come when none was outstanding.
            const auto cancellation = co_await asio::this_coro::cancellation_state;
            if (is_cancelled(cancellation))
                co_return failure(asio::error::operation_aborted);
            const auto read = co_await this->read();
            if (read.bytes.size() != 0) {
                auto f = co_await pass_on(read.bytes);
                if (f)
                    co_return f;
            }
            if (read.error.code == asio::error::eof)
                co_return failure();
            if (read.error && read.error.code != error::at_hole)
                co_return read.error;
            if (read.error) {
                auto f = co_await move_hole();
                if (f)
                    co_return f;
            }
        }
    }

private:
    /// What was read, and in whose memory it is.
    struct piece
    {
        asio::const_buffer bytes{};
        failure error{};
    };

    asio::awaitable<piece> read()
    {
        piece result;
        if (source_.has_memory()) {
            result.error = co_await source_.peek();
            if (!result.error)
                result.bytes = asio::buffer(source_.data(), size_);
            if (!result.error && result.bytes.size() == 0)
                result.error = error::at_hole;
            co_return result;
        }
        auto memory = co_await this->memory(result.error);
        if (result.error)
            co_return result;
        auto read = co_await source_.read_some(memory);
        result.bytes = asio::buffer(memory, read.bytes);
        result.error = std::move(read.error);
        co_return result;
    }

    /// Writes what read() has returned.
    asio::awaitable<failure> pass_on(asio::const_buffer bytes)
    {
        if (source_.has_memory() || !sink_.has_memory()) {
            auto f = co_await write(bytes);
            if (!f && source_.has_memory())
                f = source_.consume(bytes.size());
            co_return f;
        }
        co_await meter_.wait_for_turn(bytes.size());
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (is_cancelled(cancellation))
            co_return failure(asio::error::operation_aborted);
        auto f = sink_.commit(bytes.size());
        if (!f)
            meter_.count(bytes.size());
        co_return f;
    }

    asio::awaitable<failure> write(asio::const_buffer bytes)
    {
        co_await meter_.wait_for_turn(bytes.size());
        while (bytes.size() != 0) {
            const auto cancellation = co_await asio::this_coro::cancellation_state;
            if (is_cancelled(cancellation))
                co_return failure(asio::error::operation_aborted);
            auto written = co_await sink_.write(bytes);
            meter_.count(written.bytes); // Now, because a large piece may take long.
            if (written.error)
                co_return written.error;
            bytes += written.bytes;
        }
        co_return failure();
    }

    /// Returns memory to read into: the sink's, if it has some.
    asio::awaitable<asio::mutable_buffer> memory(failure& f)
    {
        if (!sink_.has_memory())
            co_return own_memory();
        auto lent = co_await sink_.prepare();
        f = std::move(lent.error);
        co_return asio::buffer(lent.memory, size_);
    }

    asio::mutable_buffer own_memory()
    {
        if (!buffer_)
            buffer_ = std::make_unique_for_overwrite<std::byte[]>(size_);
        return {buffer_.get(), size_};
    }

    asio::awaitable<failure> move_hole()
    {
        auto read = co_await source_.read_hole();
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (!read.error && is_cancelled(cancellation))
            read.error = error_code(asio::error::operation_aborted);
        if (read.error || read.length == 0)
            co_return read.error;
        if (!passes_holes_)
            co_return co_await write_zeros(read.length);
        auto f = co_await sink_.write_hole(read.length);
        if (!f)
            meter_.count_hole(read.length);
        co_return f;
    }

    asio::awaitable<failure> write_zeros(std::uint64_t length)
    {
        const auto zeros = own_memory();
        std::memset(zeros.data(), 0, zeros.size());
        while (length != 0) {
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(length, size_));
            auto f = co_await write(asio::buffer(zeros, size));
            if (f)
                co_return f;
            length -= size;
        }
        co_return failure();
    }

    transfer_source& source_;
    transfer_sink& sink_;
    transfer_meter& meter_;
    const bool passes_holes_;
    const std::size_t size_;
    std::unique_ptr<std::byte[]> buffer_;
};

/// A part of a source. It reads only as much of the source as it passes on.
class partial_source final : public transfer_source
{
public:
    partial_source(std::shared_ptr<transfer_source> whole, std::uint64_t offset, std::uint64_t length)
        : whole_(std::move(whole)),
          offset_(offset),
          to_skip_(offset),
          is_limited_(length != 0),
          length_(length),
          left_(length)
    {
    }

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override
    {
        transferred result;
        result.error = co_await skip(buffer);
        if (result.error)
            co_return result;
        if (is_limited_ && left_ == 0) {
            result.error = error_code(asio::error::eof);
            co_return result;
        }
        if (hole_ != 0) {
            result.error = error::at_hole;
            co_return result;
        }
        if (is_limited_)
            buffer =
                asio::buffer(buffer, static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer.size())));
        result = co_await whole_->read_some(buffer);
        left_ -= std::min<std::uint64_t>(left_, result.bytes);
        co_return result;
    }

    asio::awaitable<hole> read_hole() override
    {
        hole result;
        result.length = std::exchange(hole_, 0);
        if (result.length == 0)
            result = co_await whole_->read_hole();
        if (is_limited_)
            result.length = std::min(result.length, left_);
        left_ -= std::min(left_, result.length);
        co_return result;
    }

    std::uint64_t size() const override
    {
        const auto whole = whole_->size();
        const auto rest = whole - std::min(whole, offset_);
        return whole != 0 && is_limited_ ? std::min(rest, length_) : rest;
    }

private:
    /// Skips what comes before the part. Returns why that failed.
    asio::awaitable<failure> skip(asio::mutable_buffer buffer)
    {
        while (to_skip_ != 0) {
            const auto size = std::min<std::uint64_t>(to_skip_, buffer.size());
            auto read = co_await whole_->read_some(asio::buffer(buffer, static_cast<std::size_t>(size)));
            to_skip_ -= read.bytes;
            if (read.error.code == error::at_hole) {
                auto skipped = co_await whole_->read_hole();
                if (skipped.error)
                    co_return skipped.error;
                hole_ = skipped.length - std::min(skipped.length, to_skip_);
                to_skip_ -= std::min(skipped.length, to_skip_);
            }
            else if (read.error && (read.error.code != asio::error::eof || to_skip_ != 0)) {
                co_return read.error;
            }
            const auto cancellation = co_await asio::this_coro::cancellation_state;
            if (is_cancelled(cancellation))
                co_return failure(asio::error::operation_aborted);
        }
        co_return failure();
    }

    const std::shared_ptr<transfer_source> whole_;
    const std::uint64_t offset_;
    std::uint64_t to_skip_;
    const bool is_limited_;
    const std::uint64_t length_;
    std::uint64_t left_;
    std::uint64_t hole_ = 0; // the part's share of the hole at which it begins
};

} // namespace

asio::awaitable<failure> pump(
    transfer_source& source, transfer_sink& sink, transfer_meter& meter, bool passes_holes,
    std::size_t buffer_size)
{
    pumping p(source, sink, meter, passes_holes, buffer_size);
    co_return co_await p.run();
}

std::shared_ptr<transfer_source> part_of(
    std::shared_ptr<transfer_source> whole, std::uint64_t offset, std::uint64_t length)
{
    if (offset == 0 && length == 0)
        return whole;
    return std::make_shared<partial_source>(std::move(whole), offset, length);
}

} // namespace avirt::detail
