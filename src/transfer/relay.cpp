// SPDX-License-Identifier: BSL-1.0
#include <avirt/relay.hpp>

#include "core/await_operation.hpp"
#include "core/coroutine_operation.hpp"
#include "transfer/pump.hpp"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <utility>

namespace avirt::detail {
namespace {

/// Enough for consoles, of which there may be thousands.
constexpr std::size_t relay_buffer_size = 64 * 1024;

/// Knows whether the stream is being read.
class relay_source final : public transfer_source
{
public:
    explicit relay_source(std::unique_ptr<stream_reader> reader) : source_(make_source(std::move(reader))) {}

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override
    {
        is_reading_ = true;
        auto result = co_await source_->read_some(buffer);
        is_reading_ = false;
        co_return result;
    }

    asio::awaitable<hole> read_hole() override
    {
        return source_->read_hole();
    }

    bool is_reading() const noexcept
    {
        return is_reading_;
    }

private:
    const std::shared_ptr<transfer_source> source_;
    bool is_reading_ = false;
};

/// What is passed from one stream to the other.
struct relay_direction
{
    relay_direction(std::unique_ptr<stream_reader> from, std::shared_ptr<stream_writer> to)
        : source(std::make_shared<relay_source>(std::move(from))),
          writer(std::move(to)),
          sink(make_sink(writer))
    {
    }

    /// How to cancel what is outstanding. Most streams that consist of layers, such as those of TLS, support
    /// terminal cancellation only. A write to an async_stream, the only one that takes holes, supports total
    /// cancellation, and a terminal one could cost it its connection.
    asio::cancellation_type cancellation() const
    {
        return writer->can_write_holes() && !source->is_reading() ? asio::cancellation_type::total
                                                                  : asio::cancellation_type::terminal;
    }

    const std::shared_ptr<relay_source> source;
    const std::shared_ptr<stream_writer> writer;
    const std::shared_ptr<transfer_sink> sink;
    transfer_meter meter{transfer_options()};
};

struct relay_streams
{
    relay_streams(relay_end a, relay_end b)
        : a_to_b(std::move(a.reader), std::move(b.writer)),
          b_to_a(std::move(b.reader), std::move(a.writer))
    {
    }

    relay_direction a_to_b;
    relay_direction b_to_a;
    failure error;
};

/// The two coroutines that pass on one direction each, and the one that waits for both. Only the two own this
/// object; it owns the one that waits, and that one the streams.
class relay_run : public std::enable_shared_from_this<relay_run>
{
public:
    using handler_type = asio::any_completion_handler<void()>;

    explicit relay_run(relay_streams& streams) noexcept : streams_(streams) {}

    /// Called on the strand.
    void start(const asio::any_io_executor& strand, handler_type handler)
    {
        on_cancel(handler, [weak = weak_from_this()](asio::cancellation_type type) {
            if (const auto self = weak.lock()) {
                self->cancel_a_to_b_.emit(type);
                self->cancel_b_to_a_.emit(type);
            }
        });
        waiting_.emplace(std::move(handler));
        spawn(strand, streams_.a_to_b, cancel_a_to_b_, cancel_b_to_a_);
        spawn(strand, streams_.b_to_a, cancel_b_to_a_, cancel_a_to_b_);
    }

private:
    /// @param own Cancels the direction.
    /// @param other Cancels the other direction.
    void spawn(
        const asio::any_io_executor& strand, relay_direction& direction, asio::cancellation_signal& own,
        asio::cancellation_signal& other)
    {
        asio::co_spawn(
            strand, pass_on(strand, direction),
            asio::bind_cancellation_slot(
                own.slot(), [self = shared_from_this(), &direction, &other](std::exception_ptr e, failure f) {
                    self->end(direction, e ? failure_of(e) : std::move(f), other);
                }));
    }

    static asio::awaitable<failure> pass_on(asio::any_io_executor strand, relay_direction& direction)
    {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        co_await asio::post(strand, asio::use_awaitable); // The other direction has to be spawned first.
        co_return co_await pump(*direction.source, *direction.sink, direction.meter, true, relay_buffer_size);
    }

    void end(relay_direction& direction, failure f, asio::cancellation_signal& other)
    {
        const bool passes_end_on = !f && direction.writer->shutdown_send();
        if (!is_over_)
            streams_.error = std::move(f);
        if (--directions_ == 0) {
            auto handler = std::exchange(waiting_, std::nullopt);
            return std::move(*handler)();
        }
        is_over_ = !passes_end_on;
        if (is_over_) {
            const bool is_a_to_b = &direction == &streams_.a_to_b;
            other.emit((is_a_to_b ? streams_.b_to_a : streams_.a_to_b).cancellation());
        }
    }

    relay_streams& streams_;
    std::optional<handler_type> waiting_;
    asio::cancellation_signal cancel_a_to_b_;
    asio::cancellation_signal cancel_b_to_a_;
    int directions_ = 2;   // that go on
    bool is_over_ = false; // The other direction is being cancelled.
};

using operation = coroutine_operation<std::uint64_t, std::uint64_t>;

asio::awaitable<failure> relay(std::shared_ptr<operation> self, relay_end a, relay_end b)
{
    relay_streams streams(std::move(a), std::move(b));
    co_await await_operation<void()>([&](auto handler) {
        std::make_shared<relay_run>(streams)->start(
            self->strand(), relay_run::handler_type(std::move(handler)));
    });
    self->values = {streams.a_to_b.meter.so_far().bytes, streams.b_to_a.meter.so_far().bytes};
    co_return streams.error;
}

} // namespace

void async_relay(
    relay_end a, relay_end b, const transfer_executors& executors, relay_handler handler,
    error_details* details)
{
    const auto self = std::make_shared<operation>(executors.handlers);
    self->launch(
        self, std::move(handler), executors.io, details,
        [x = std::move(a), y = std::move(b)](std::shared_ptr<operation> o) mutable {
            return relay(std::move(o), std::move(x), std::move(y));
        });
}

} // namespace avirt::detail
