// SPDX-License-Identifier: BSL-1.0
#include <avirt/async_stream.hpp>

#include "core/context_objects.hpp"
#include "core/worker_pool.hpp"
#include "loop/event_registry.hpp"
#include "stream/callback_transport.hpp"
#include "stream/stream_ending.hpp"
#include "stream/stream_io.hpp"
#include "stream/stream_opening.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

/// The life of a stream: opened or adopted; ended, closed or released; opened again.
class stream_object final : public stream_io, public context_object
{
public:
    explicit stream_object(const asio::any_io_executor& executor) : stream_io(executor) {}

    virStreamPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(mutex());
        return transport_ ? transport_->stream().get() : nullptr;
    }

    void adopt(virStreamPtr stream) override
    {
        const std::lock_guard guard(mutex());
        // A daemon may be behind the stream: a send may block.
        use(std::make_shared<callback_transport>(
            shared_from_this(), stream, false, send_state::method::on_worker, nullptr,
            std::make_shared<job_lane>()));
        transport_->listen(); // If this fails, a read reports the failure.
    }

    virStreamPtr release() override
    {
        const std::lock_guard guard(mutex());
        cancel_all();
        const auto transport = std::exchange(transport_, nullptr);
        return transport ? transport->release() : nullptr;
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex());
        cancel_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex());
        const bool is_stuck = is_writing();
        leave_io();
        cancel_all();
        if (!transport_)
            return;
        if (is_stuck) // The abort would queue behind data that the daemon does not read.
            transport_->interrupt();
        const auto ending = std::make_shared<stream_ending>(shared_from_this());
        ending->start(std::exchange(transport_, nullptr), &virStreamAbort);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex());
        const auto open = opening_ ? opening_->shut_down() : std::nullopt;
        const auto io = shut_down_io();
        const auto end = ending_ ? ending_->shut_down() : std::nullopt;
        executor_ = {};
        held.unlock(); // The handlers are destroyed outside the lock: they may own this very stream.
    }

    void async_open(
        const connection_impl& connection, bool shares_connection, std::shared_ptr<opener_base> opener,
        wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex());
        if (!executor_) // No handler can be invoked any more.
            return;
        auto reference = connection_reference::adopt(connection.add_reference());
        const auto refused = is_opening() || is_ending() ? error::operation_in_progress
            : transport_                                 ? error::already_open
            : !reference.get()                           ? error::not_open
            : !event_registry::instance().is_bound()     ? error::no_event_loop
                                                         : error{};
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused);
        opening_ = std::make_shared<stream_opening>(
            shared_from_this(), [this](auto transport) { use(std::move(transport)); });
        opening_->start(
            stream_origin(std::move(reference), connection, shares_connection), std::move(opener),
            std::move(handler), executor_, details);
    }

    void async_finish(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamFinish, std::move(handler), details);
    }

    void async_abort(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamAbort, std::move(handler), details);
    }

private:
    void async_end(stream_ending::end_function function, wait_handler handler, error_details* details)
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return;
        const bool is_busy = is_ending() || (is_writing() && function == &virStreamFinish);
        if (is_busy || !transport_)
            return complete_now(
                executor_, std::move(handler), details,
                is_busy ? error::operation_in_progress : error::not_open);
        leave_io();
        ending_ = std::make_shared<stream_ending>(shared_from_this());
        ending_->start(transport_, function, std::move(handler), executor_, details);
    }

    bool is_opening() const noexcept
    {
        return opening_ && opening_->is_pending();
    }

    bool is_ending() const noexcept
    {
        return ending_ && ending_->is_pending();
    }

    void cancel_all() noexcept
    {
        if (opening_)
            opening_->cancel();
        cancel_io();
        if (ending_)
            ending_->cancel();
    }

    std::shared_ptr<stream_opening> opening_; // the latest; null: there was none
    std::shared_ptr<stream_ending> ending_;   // the latest that an operation waited for; null: there was none
};

} // namespace

stream_impl::~stream_impl() = default;

std::shared_ptr<stream_impl> stream_impl::make(const asio::any_io_executor& executor)
{
    auto object = std::make_shared<stream_object>(executor);
    context_objects::of(executor)->add(object);
    return object;
}

} // namespace avirt::detail
