// SPDX-License-Identifier: BSL-1.0
#include "transfer/shared_limits.hpp"

#include <boost/asio/error.hpp>

#include <mutex>

namespace avirt {
namespace detail {

/// A transfer that waits for a place. Guarded by the lock of the limits. It is in their queue while the
/// operation is pending.
struct shared_limits::waiter final : context_object, std::enable_shared_from_this<waiter>
{
    explicit waiter(std::shared_ptr<shared_limits> l) noexcept : limits(std::move(l)) {}

    void cancel()
    {
        const std::lock_guard guard(limits->mutex_);
        std::erase(limits->waiters_, shared_from_this());
        operation.complete(error_code(asio::error::operation_aborted), place());
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(limits->mutex_);
        std::erase(limits->waiters_, shared_from_this());
        const auto ended = operation.take();
        held.unlock(); // The handler is destroyed outside the lock: it may own a place.
    }

    const std::shared_ptr<shared_limits> limits;
    pending_operation<void(error_code, place)> operation;
};

void shared_limits::async_take_place(const asio::any_io_executor& executor, place_handler handler)
{
    const std::lock_guard guard(mutex_);
    if (max_transfers_ == 0 || taken_ < max_transfers_) {
        ++taken_;
        return complete_now(executor, std::move(handler), nullptr, failure(), place(shared_from_this()));
    }
    const auto waiting = std::make_shared<waiter>(shared_from_this());
    context_objects::of(executor)->add(waiting);
    on_cancel(handler, [weak = std::weak_ptr(waiting)](asio::cancellation_type) {
        if (const auto w = weak.lock())
            w->cancel();
    });
    waiting->operation.start(std::move(handler), executor, nullptr);
    waiters_.push_back(waiting);
}

void shared_limits::give_back_place() noexcept
{
    const std::lock_guard guard(mutex_);
    if (waiters_.empty()) {
        --taken_;
        return;
    }
    const auto next = std::move(waiters_.front());
    waiters_.pop_front();
    next->operation.complete(failure(), place(shared_from_this()));
}

} // namespace detail

transfer_limits::transfer_limits(std::size_t max_transfers, std::uint64_t bytes_per_second)
    : impl_(std::make_shared<detail::shared_limits>(max_transfers, bytes_per_second))
{
}

} // namespace avirt
