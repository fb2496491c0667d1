// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/detail/with_details.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/socket_base.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

// The ends of a transfer, without knowledge of their types.
namespace avirt::detail {

/// What a read or a write has transferred: it may have failed after some bytes.
struct transferred
{
    std::size_t bytes = 0;
    failure error{};
};

/// What the streams of applications are given as a handler. It names the executor of the transfer: many
/// streams require more of an executor than that of an erased handler offers.
template <class Handler>
using step_handler = asio::executor_binder<filling_handler<Handler>, asio::any_io_executor>;

/// How a read or a write of a transfer completes.
template <class Handler>
class transfer_step
{
public:
    transfer_step(Handler h, error_details* d, const asio::any_io_executor& e)
        : handler(std::move(h)),
          details(d),
          executor(e)
    {
    }

    step_handler<Handler> take()
    {
        return asio::bind_executor(executor, filling_handler<Handler>(std::move(handler), details));
    }

    Handler handler;
    error_details* details;
    asio::any_io_executor executor;
};

using io_step = transfer_step<io_handler>;
using hole_step = transfer_step<hole_handler>;
using wait_step = transfer_step<wait_handler>;

/// A stream that is read.
class stream_reader
{
public:
    virtual ~stream_reader() = default;
    virtual void async_read_some(asio::mutable_buffer buffer, io_step step) = 0;
    /// Called only after a read has failed with error::at_hole.
    virtual void async_read_hole(hole_step step) = 0;
};

/// A stream that is written.
class stream_writer
{
public:
    virtual ~stream_writer() = default;
    virtual void async_write_some(asio::const_buffer buffer, io_step step) = 0;
    virtual bool can_write_holes() const noexcept = 0;
    /// Called only if can_write_holes() has returned true.
    virtual void async_write_hole(std::uint64_t length, wait_step step) = 0;
    /// Tells the other side that nothing follows. Returns false if the stream cannot do that.
    virtual bool shutdown_send() noexcept = 0;
};

/// A source that does not wait.
class byte_producer
{
public:
    virtual ~byte_producer() = default;
    /// Fills a part of the buffer, which is not empty. Returns 0 at the end. May throw.
    virtual std::size_t produce(asio::mutable_buffer buffer) = 0;

    /// The number of bytes that it produces altogether; 0: unknown.
    virtual std::uint64_t size() const
    {
        return 0;
    }
};

/// A sink that does not wait.
class byte_consumer
{
public:
    virtual ~byte_consumer() = default;
    /// Takes all bytes, or fails. May throw.
    virtual transferred consume(asio::const_buffer bytes) = 0;
};

template <class T>
concept readable_stream = requires(T& stream, asio::mutable_buffer buffer, step_handler<io_handler> handler)
{
    stream.get_executor();
    stream.async_read_some(buffer, std::move(handler));
};

template <class T>
concept writable_stream = requires(T& stream, asio::const_buffer buffer, step_handler<io_handler> handler)
{
    stream.get_executor();
    stream.async_write_some(buffer, std::move(handler));
};

template <class T>
concept reads_holes = requires(T& stream, step_handler<hole_handler> handler)
{
    stream.async_read_hole(std::move(handler));
};

template <class T>
concept writes_holes = requires(T& stream, std::uint64_t length, step_handler<wait_handler> handler)
{
    stream.async_write_hole(length, std::move(handler));
};

template <class T>
concept has_shutdown = requires(T& stream, error_code ec)
{
    stream.shutdown(asio::socket_base::shutdown_send, ec);
};

template <class T>
concept has_socket = requires(T& stream)
{
    stream.socket();
};

/// A layer that passes on what it is given. TLS and WebSockets have an end of their own: if only the layer
/// below ended, the other side would take that for a failure.
template <class T>
concept has_transparent_layer = requires(T& stream)
{
    stream.next_layer();
}
&&!requires(T & stream, wait_handler handler)
{
    stream.async_shutdown(std::move(handler));
}
&&!requires(T & stream)
{
    stream.reason();
};

/// Returns whether the stream can be shut down for sending, and does so.
template <class Stream>
bool shutdown_send(Stream& stream)
{
    if constexpr (has_shutdown<Stream>) {
        error_code ec; // A stream that is not connected any more: what it reads ends as well.
        stream.shutdown(asio::socket_base::shutdown_send, ec);
        return true;
    }
    else if constexpr (has_socket<Stream>) // Beast's streams
        return shutdown_send(stream.socket());
    else if constexpr (has_transparent_layer<Stream>)
        return shutdown_send(stream.next_layer());
    else
        return false;
}

template <class Stream>
class any_stream_reader final : public stream_reader
{
public:
    explicit any_stream_reader(Stream& stream) noexcept : stream_(&stream) {}

    void async_read_some(asio::mutable_buffer buffer, io_step step) override
    {
        stream_->async_read_some(buffer, step.take());
    }

    void async_read_hole(hole_step step) override
    {
        if constexpr (reads_holes<Stream>)
            stream_->async_read_hole(step.take());
        else // No such stream reports holes.
            complete_immediately(step.take(), step.executor, error_code(error::at_hole), std::uint64_t{0});
    }

private:
    Stream* stream_;
};

template <class Stream>
class any_stream_writer final : public stream_writer
{
public:
    explicit any_stream_writer(Stream& stream) noexcept : stream_(&stream) {}

    void async_write_some(asio::const_buffer buffer, io_step step) override
    {
        stream_->async_write_some(buffer, step.take());
    }

    bool can_write_holes() const noexcept override
    {
        return writes_holes<Stream>;
    }

    void async_write_hole(std::uint64_t length, wait_step step) override
    {
        if constexpr (writes_holes<Stream>)
            stream_->async_write_hole(length, step.take());
    }

    bool shutdown_send() noexcept override
    {
        return detail::shutdown_send(*stream_);
    }

private:
    Stream* stream_;
};

/// Makes bytes of a buffer sequence.
template <class ConstBufferSequence>
class buffers_producer final : public byte_producer
{
public:
    explicit buffers_producer(ConstBufferSequence buffers)
        : buffers_(std::move(buffers)),
          next_(asio::buffer_sequence_begin(buffers_))
    {
    }

    std::size_t produce(asio::mutable_buffer buffer) override
    {
        std::size_t total = 0;
        while (buffer.size() != 0 && next_ != asio::buffer_sequence_end(buffers_)) {
            const auto rest = asio::const_buffer(*next_) + position_;
            const auto copied = asio::buffer_copy(buffer, rest);
            buffer += copied;
            total += copied;
            position_ += copied;
            if (copied == rest.size()) {
                ++next_;
                position_ = 0;
            }
        }
        return total;
    }

    std::uint64_t size() const override
    {
        return asio::buffer_size(buffers_);
    }

private:
    using iterator = decltype(asio::buffer_sequence_begin(std::declval<const ConstBufferSequence&>()));

    const ConstBufferSequence buffers_;
    iterator next_;
    std::size_t position_ = 0; // in the next buffer
};

/// Makes bytes by calling a function.
template <class Function>
class function_producer final : public byte_producer
{
public:
    explicit function_producer(Function function) : function_(std::move(function)) {}

    std::size_t produce(asio::mutable_buffer buffer) override
    {
        return std::invoke(function_, buffer);
    }

private:
    Function function_;
};

/// Passes bytes to a function.
template <class Function>
class function_consumer final : public byte_consumer
{
public:
    explicit function_consumer(Function function) : function_(std::move(function)) {}

    transferred consume(asio::const_buffer bytes) override
    {
        std::invoke(function_, bytes);
        return {bytes.size(), {}};
    }

private:
    Function function_;
};

/// Appends bytes to a dynamic buffer.
template <class DynamicBuffer>
class dynamic_buffer_consumer final : public byte_consumer
{
public:
    explicit dynamic_buffer_consumer(DynamicBuffer buffer) : buffer_(std::move(buffer)) {}

    transferred consume(asio::const_buffer bytes) override
    {
        const auto fitting = std::min(bytes.size(), buffer_.max_size() - buffer_.size());
        if constexpr (asio::is_dynamic_buffer_v2<DynamicBuffer>::value) {
            const auto old_size = buffer_.size();
            buffer_.grow(fitting);
            asio::buffer_copy(buffer_.data(old_size, fitting), bytes);
        }
        else {
            buffer_.commit(asio::buffer_copy(buffer_.prepare(fitting), bytes));
        }
        if (fitting < bytes.size())
            return {fitting, failure(asio::error::no_buffer_space)};
        return {fitting, {}};
    }

private:
    DynamicBuffer buffer_;
};

class transfer_sink;
class transfer_source;

AVIRT_DECL std::shared_ptr<transfer_source> make_source(std::unique_ptr<stream_reader> reader);
AVIRT_DECL std::shared_ptr<transfer_source> make_source(std::unique_ptr<byte_producer> producer);
AVIRT_DECL std::shared_ptr<transfer_sink> make_sink(std::shared_ptr<stream_writer> writer);
AVIRT_DECL std::shared_ptr<transfer_sink> make_sink(std::unique_ptr<byte_consumer> consumer);

/// A stream as an argument of an operation that may be launched later: the application owns the stream.
template <class Stream>
struct stream_pointer
{
    Stream* stream;
};

/// What an operation keeps of an end that the application passes: a pointer to a stream, a copy of anything
/// else.
template <class End>
decltype(auto) kept_end(End&& end)
{
    using type = std::remove_reference_t<End>;
    if constexpr (std::is_lvalue_reference_v<End> && (readable_stream<type> || writable_stream<type>))
        return stream_pointer<type>{&end};
    else
        return std::forward<End>(end);
}

template <class Stream>
std::shared_ptr<transfer_source> source_of(stream_pointer<Stream> from)
{
    return make_source(std::make_unique<any_stream_reader<Stream>>(*from.stream));
}

template <class Source>
std::shared_ptr<transfer_source> source_of(Source from)
{
    if constexpr (asio::is_const_buffer_sequence<Source>::value)
        return make_source(std::make_unique<buffers_producer<Source>>(std::move(from)));
    else
        return make_source(std::make_unique<function_producer<Source>>(std::move(from)));
}

template <class Stream>
std::shared_ptr<transfer_sink> sink_of(stream_pointer<Stream> to)
{
    return make_sink(std::make_unique<any_stream_writer<Stream>>(*to.stream));
}

template <class Sink>
std::shared_ptr<transfer_sink> sink_of(Sink to)
{
    if constexpr (asio::is_dynamic_buffer<Sink>::value)
        return make_sink(std::make_unique<dynamic_buffer_consumer<Sink>>(std::move(to)));
    else
        return make_sink(std::make_unique<function_consumer<Sink>>(std::move(to)));
}

/// The executors of an operation that calls functions of the application.
struct transfer_executors
{
    asio::any_io_executor io; ///< The executor of the object on which the operation was initiated.
    asio::any_io_executor
        handlers; ///< The one that is associated with the handler, if it is an I/O executor.
};

template <class Handler, class IoExecutor>
transfer_executors executors_of(const Handler& handler, const IoExecutor& io_executor)
{
    using executor_type = asio::associated_executor_t<Handler, IoExecutor>;
    if constexpr (std::is_convertible_v<executor_type, asio::any_io_executor>)
        return {io_executor, asio::get_associated_executor(handler, io_executor)};
    else
        return {io_executor, io_executor};
}

} // namespace avirt::detail
