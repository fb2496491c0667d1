// SPDX-License-Identifier: BSL-1.0
#include "transfer/transfer_ends.hpp"

#include "core/await_operation.hpp"

#include <avirt/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <memory>
#include <tuple>
#include <utility>

namespace avirt::detail {
namespace {

class stream_source final : public transfer_source
{
public:
    explicit stream_source(std::unique_ptr<stream_reader> reader) : reader_(std::move(reader)) {}

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override
    {
        transferred result;
        const auto executor = co_await asio::this_coro::executor;
        std::tie(result.error.code, result.bytes) =
            co_await await_operation<void(error_code, std::size_t)>([&](auto handler) {
                reader_->async_read_some(
                    buffer, io_step(std::move(handler), &result.error.details, executor));
            });
        co_return result;
    }

    asio::awaitable<hole> read_hole() override
    {
        hole result;
        const auto executor = co_await asio::this_coro::executor;
        std::tie(result.error.code, result.length) =
            co_await await_operation<void(error_code, std::uint64_t)>([&](auto handler) {
                reader_->async_read_hole(hole_step(std::move(handler), &result.error.details, executor));
            });
        co_return result;
    }

private:
    const std::unique_ptr<stream_reader> reader_;
};

class stream_sink final : public transfer_sink
{
public:
    explicit stream_sink(std::shared_ptr<stream_writer> writer) : writer_(std::move(writer)) {}

    asio::awaitable<transferred> write(asio::const_buffer bytes) override
    {
        transferred result;
        const auto executor = co_await asio::this_coro::executor;
        std::tie(result.error.code, result.bytes) =
            co_await await_operation<void(error_code, std::size_t)>([&](auto handler) {
                writer_->async_write_some(
                    bytes, io_step(std::move(handler), &result.error.details, executor));
            });
        co_return result;
    }

    bool can_write_holes() const override
    {
        return writer_->can_write_holes();
    }

    asio::awaitable<failure> write_hole(std::uint64_t length) override
    {
        failure f;
        const auto executor = co_await asio::this_coro::executor;
        std::tie(f.code) = co_await await_operation<void(error_code)>([&](auto handler) {
            writer_->async_write_hole(length, wait_step(std::move(handler), &f.details, executor));
        });
        co_return f;
    }

private:
    const std::shared_ptr<stream_writer> writer_;
};

class producer_source final : public transfer_source
{
public:
    explicit producer_source(std::unique_ptr<byte_producer> producer) : producer_(std::move(producer)) {}

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override
    {
        transferred result;
        try {
            result.bytes = producer_->produce(buffer);
            if (result.bytes == 0)
                result.error = error_code(asio::error::eof);
            if (result.bytes > buffer.size()) // The function says that it has written where it must not.
                result = {0, failure(asio::error::invalid_argument)};
        }
        catch (...) {
            result.error = current_failure();
            if (result.error.code == asio::error::eof) // It would be taken for the end.
                result.error.code = error::call_threw;
        }
        co_return result;
    }

    std::uint64_t size() const override
    {
        return producer_->size();
    }

private:
    const std::unique_ptr<byte_producer> producer_;
};

class consumer_sink final : public transfer_sink
{
public:
    explicit consumer_sink(std::unique_ptr<byte_consumer> consumer) : consumer_(std::move(consumer)) {}

    asio::awaitable<transferred> write(asio::const_buffer bytes) override
    {
        transferred result;
        try {
            result = consumer_->consume(bytes);
        }
        catch (...) {
            result.error = current_failure();
        }
        co_return result;
    }

private:
    const std::unique_ptr<byte_consumer> consumer_;
};

} // namespace

asio::awaitable<hole> transfer_source::read_hole()
{
    hole none;
    none.error = error::at_hole;
    co_return none;
}

asio::awaitable<failure> transfer_source::peek()
{
    co_return failure(asio::error::operation_not_supported);
}

failure transfer_source::consume(std::uint64_t)
{
    return failure(asio::error::operation_not_supported);
}

asio::awaitable<failure> transfer_sink::write_hole(std::uint64_t)
{
    co_return failure(asio::error::operation_not_supported);
}

asio::awaitable<prepared> transfer_sink::prepare()
{
    prepared none;
    none.error = error_code(asio::error::operation_not_supported);
    co_return none;
}

failure transfer_sink::commit(std::size_t)
{
    return failure(asio::error::operation_not_supported);
}

std::shared_ptr<transfer_source> make_source(std::unique_ptr<stream_reader> reader)
{
    return std::make_shared<stream_source>(std::move(reader));
}

std::shared_ptr<transfer_source> make_source(std::unique_ptr<byte_producer> producer)
{
    return std::make_shared<producer_source>(std::move(producer));
}

std::shared_ptr<transfer_sink> make_sink(std::shared_ptr<stream_writer> writer)
{
    return std::make_shared<stream_sink>(std::move(writer));
}

std::shared_ptr<transfer_sink> make_sink(std::unique_ptr<byte_consumer> consumer)
{
    return std::make_shared<consumer_sink>(std::move(consumer));
}

} // namespace avirt::detail
