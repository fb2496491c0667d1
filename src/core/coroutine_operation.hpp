// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/context_objects.hpp"
#include "core/pending_operation.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <tuple>
#include <utility>

namespace avirt::detail {

/// The exception as a failure.
inline failure failure_of(const std::exception_ptr& e)
{
    try {
        std::rethrow_exception(e);
    }
    catch (...) {
        return current_failure();
    }
}

/// An operation that a coroutine performs on a strand. A cancellation of the operation reaches the operation
/// that the coroutine awaits.
///
/// The coroutine owns the operation, so that the handler is destroyed together with the context of the
/// operation that the coroutine awaits.
template <class... Values>
class coroutine_operation : public std::enable_shared_from_this<coroutine_operation<Values...>>
{
public:
    using handler_type = asio::any_completion_handler<void(error_code, Values...)>;

    /// @param executor On whose strand the coroutine runs.
    explicit coroutine_operation(const asio::any_io_executor& executor) : strand_(strand_of(executor)) {}

    const asio::any_io_executor& strand() const noexcept
    {
        return strand_;
    }

    /// Ends the operation with operation_aborted. May be called from any thread.
    void abort() noexcept
    {
        is_aborted_ = true;
        // Total, so that a call that is running is not interrupted.
        emit_cancellation(asio::cancellation_type::total);
    }

    bool is_aborted() const noexcept
    {
        return is_aborted_;
    }

    /// Whether the operation has been cancelled. Tested after each operation that the coroutine awaits: the
    /// cancellation may come when that one is complete already, and not every type of cancellation ends
    /// a call that has begun.
    bool is_cancelled(const asio::cancellation_state& state) const noexcept
    {
        return is_aborted_ || state.cancelled() != asio::cancellation_type::none;
    }

    /// Launches the coroutine perform(self), which returns the operation's failure. @p self is a shared_ptr
    /// to this object, of which the class that is derived from this one may be the type.
    template <class Self, class Perform>
    void launch(
        std::shared_ptr<Self> self, handler_type handler, const asio::any_io_executor& io_executor,
        error_details* details, Perform perform)
    {
        on_cancel(handler, [weak = std::weak_ptr(self)](asio::cancellation_type type) {
            if (const auto operation = weak.lock())
                operation->emit_cancellation(type);
        });
        pending_.start(std::move(handler), io_executor, details);
        asio::co_spawn(
            strand_, run(self, std::move(perform)),
            asio::bind_cancellation_slot(
                cancellation_.slot(), [self](std::exception_ptr e) { self->complete(e); }));
    }

    /// What the handler receives beside the error. Used by the coroutine only.
    std::tuple<Values...> values{};

private:
    void emit_cancellation(asio::cancellation_type type) noexcept
    {
        // Posted, so that the coroutine has executed its first step, which enables cancellation.
        asio::post(strand_, [self = this->shared_from_this(), type] { self->cancellation_.emit(type); });
    }

    template <class Self, class Perform>
    static asio::awaitable<void> run(std::shared_ptr<Self> self, Perform perform)
    {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        // Nothing of the application's is called inside the initiating function.
        co_await asio::post(self->strand_, asio::use_awaitable);
        failure result;
        if (const auto before = co_await asio::this_coro::cancellation_state; !self->is_cancelled(before))
            result = co_await perform(self);
        else
            result = error_code(asio::error::operation_aborted);
        // After a cancellation, another failure may be its consequence: the connection is not open any more.
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (result && self->is_cancelled(cancellation))
            result = error_code(asio::error::operation_aborted);
        self->result_ = std::move(result);
    }

    void complete(const std::exception_ptr& e)
    {
        if (e)
            result_ = failure_of(e);
        std::apply([&](auto&... v) { pending_.complete(std::move(result_), std::move(v)...); }, values);
    }

    const asio::any_io_executor strand_;
    asio::cancellation_signal cancellation_; // used on the strand only
    std::atomic<bool> is_aborted_{false};
    pending_operation<void(error_code, Values...)> pending_;
    failure result_;
};

} // namespace avirt::detail
