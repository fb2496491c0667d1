// SPDX-License-Identifier: BSL-1.0
#include "transfer/own_stream.hpp"

#include "core/pending_operation.hpp"

namespace avirt::detail {
namespace {

class impl_reader final : public stream_reader
{
public:
    explicit impl_reader(std::shared_ptr<stream_impl> stream) noexcept : stream_(std::move(stream)) {}

    void async_read_some(asio::mutable_buffer buffer, io_step step) override
    {
        stream_->async_read(mutable_buffer_list(buffer), std::move(step.handler), step.details);
    }

    void async_read_hole(hole_step step) override
    {
        stream_->async_read_hole(std::move(step.handler), step.details);
    }

private:
    const std::shared_ptr<stream_impl> stream_;
};

class impl_writer final : public stream_writer
{
public:
    explicit impl_writer(std::shared_ptr<stream_impl> stream) noexcept : stream_(std::move(stream)) {}

    void async_write_some(asio::const_buffer buffer, io_step step) override
    {
        stream_->async_write(const_buffer_list(buffer), std::move(step.handler), step.details);
    }

    bool can_write_holes() const noexcept override
    {
        return true;
    }

    void async_write_hole(std::uint64_t length, wait_step step) override
    {
        wait_result result;
        if (stream_->try_write_hole(length, result)) // Otherwise the context ends.
            complete_now(step.executor, std::move(step.handler), step.details, std::move(result.ending));
    }

    bool shutdown_send() noexcept override
    {
        return false;
    }

private:
    const std::shared_ptr<stream_impl> stream_;
};

} // namespace

std::shared_ptr<transfer_source> own_stream::source() const
{
    return make_source(std::make_unique<impl_reader>(impl_));
}

std::shared_ptr<transfer_sink> own_stream::sink() const
{
    return make_sink(std::make_shared<impl_writer>(impl_));
}

} // namespace avirt::detail
