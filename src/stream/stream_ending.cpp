// SPDX-License-Identifier: BSL-1.0
#include "stream/stream_ending.hpp"

#include "core/worker_pool.hpp"
#include "loop/event_registry.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <utility>

namespace avirt::detail {

void stream_ending::start(
    std::shared_ptr<stream_transport>& transport, end_function function, wait_handler handler,
    const asio::any_io_executor& executor, error_details* details)
{
    on_cancel(handler, [weak = weak_from_this()](asio::cancellation_type) {
        const auto self = weak.lock();
        const auto stream = self ? self->stream_.lock() : nullptr;
        if (!stream)
            return;
        const std::lock_guard guard(stream->mutex());
        self->cancel();
    });
    operation_.start(std::move(handler), executor, details);
    transport_ = transport;
    start(std::exchange(transport, nullptr), function);
}

void stream_ending::start(std::shared_ptr<stream_transport> transport, end_function function)
{
    auto& ended = *transport;
    ended.stop_listening([self = shared_from_this(), transport = std::move(transport), function] {
        auto& pool = worker_pool::instance();
        const auto no_thread =
            pool.submit(pool.make([self, transport, function] { self->run(*transport, function); }));
        if (no_thread) // The job is urgent: it runs when there is a thread again.
            self->report_later(no_thread);
    });
}

void stream_ending::cancel() noexcept
{
    if (operation_)
        transport_->interrupt();
    operation_.complete(error_code(asio::error::operation_aborted));
    transport_.reset();
}

/// Runs on a worker thread.
void stream_ending::run(stream_transport& transport, end_function function)
{
    report(transport.stream().end(function, is_awaited()));
    transport.dispose();
}

/// For a caller that may hold the lock.
void stream_ending::report_later(const error_code& why)
{
    struct ended
    {
        std::shared_ptr<stream_ending> self;
        error_code why;
    };

    event_registry::instance().defer(
        [](void* argument) {
            const std::unique_ptr<ended> e(static_cast<ended*>(argument));
            e->self->report(e->why);
        },
        new ended{shared_from_this(), why});
}

void stream_ending::report(failure f)
{
    const auto stream = stream_.lock();
    if (!stream)
        return;
    const std::lock_guard guard(stream->mutex());
    operation_.complete(std::move(f));
    transport_.reset();
}

bool stream_ending::is_awaited() const
{
    const auto stream = stream_.lock();
    if (!stream)
        return false;
    const std::lock_guard guard(stream->mutex());
    return static_cast<bool>(operation_);
}

} // namespace avirt::detail
