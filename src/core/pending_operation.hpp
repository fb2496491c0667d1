// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/dispatch_completion.hpp"

#include <avirt/detail/failure.hpp>
#include <avirt/detail/handlers.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/append.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace avirt::detail {

template <class Signature>
class pending_operation;

/// One outstanding operation: its handler, and the work that keeps both executors running. Guarded by its
/// owner's lock. It may be completed under the lock, because completing only posts the handler.
template <class... Args>
class pending_operation<void(error_code, Args...)>
{
public:
    using handler_type = asio::any_completion_handler<void(error_code, Args...)>;

    explicit operator bool() const noexcept
    {
        return state_.has_value();
    }

    /// The number of the operation, by which a late cancellation finds out that another one is outstanding.
    std::uint64_t number() const noexcept
    {
        return number_;
    }

    void start(handler_type&& handler, const asio::any_io_executor& io_executor, error_details* details)
    {
        ++number_;
        asio::any_completion_executor executor =
            asio::get_associated_executor(handler, asio::any_completion_executor(no_executor()));
        if (executor.target<no_executor>())
            executor = {};
        else
            executor = asio::prefer(std::move(executor), asio::execution::outstanding_work.tracked);
        state_.emplace(
            std::move(handler), std::move(executor),
            asio::prefer(io_executor, asio::execution::outstanding_work.tracked), details);
    }

    void complete(failure f, Args... args)
    {
        if (!state_)
            return;
        auto completed = take();
        if (f && completed->details)
            *completed->details = std::move(f.details);
        // A function without an associated executor: Asio would copy the handler's executor here, and what
        // the copy owns could end on this thread after the handler has been invoked.
        const auto allocator = asio::get_associated_allocator(completed->handler);
        const auto io_executor = completed->io_executor;
        dispatch_completion::defer(
            io_executor,
            asio::bind_allocator(
                allocator,
                [ended = std::move(*completed), code = f.code, ... values = std::move(args)]() mutable {
                    std::move(ended).invoke(code, std::move(values)...);
                }));
    }

    struct state
    {
        handler_type handler;
        asio::any_completion_executor executor; // empty: the I/O executor
        asio::any_io_executor io_executor;
        error_details* details;

        state(handler_type&& h, asio::any_completion_executor e, asio::any_io_executor io, error_details* d)
            : handler(std::move(h)),
              executor(std::move(e)),
              io_executor(std::move(io)),
              details(d)
        {
        }

        state(state&&) noexcept = default;

        /// Call on the I/O executor.
        void invoke(error_code ec, Args... args) &&
        {
            if (executor)
                asio::dispatch(executor, asio::append(std::move(handler), ec, std::move(args)...));
            else
                std::move(handler)(ec, std::move(args)...);
        }
    };

    /// Ends the operation without completing it, because the context ends. The caller destroys the handler
    /// outside the lock.
    std::optional<state> take()
    {
        std::optional<state> result(std::move(state_));
        state_.reset();
        return result;
    }

private:
    /// Stands for the executor of a handler that has none.
    struct no_executor
    {
        template <class Function>
        void execute(Function&&) const noexcept
        {
        }

        bool operator==(const no_executor&) const noexcept = default;
    };

    std::optional<state> state_;
    std::uint64_t number_ = 0;
};

/// Completes an operation inside its initiating function, as if by post.
template <class... Args>
void complete_now(
    const asio::any_io_executor& io_executor, asio::any_completion_handler<void(error_code, Args...)> handler,
    error_details* details, failure f, std::type_identity_t<Args>... args)
{
    pending_operation<void(error_code, Args...)> operation;
    operation.start(std::move(handler), io_executor, details);
    operation.complete(std::move(f), std::move(args)...);
}

/// Makes the handler's cancellation slot, if it has one, call function(type).
template <class Handler, class Function>
void on_cancel(const Handler& handler, Function function)
{
    auto slot = asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected())
        slot.assign(std::move(function));
}

} // namespace avirt::detail
