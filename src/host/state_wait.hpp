// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/context_objects.hpp"
#include "core/pending_operation.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/events.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <utility>

// What the waits for a domain's state on a connection and on a supervised connection have in common.
namespace avirt::detail {

/// The failure of a wait whose domain no longer exists.
failure domain_gone();

/// Finds out from lifecycle events whether a domain has been in a state, for a moment at least.
class state_sequence
{
public:
    explicit state_sequence(int awaited) noexcept : awaited_(awaited) {}

    /// @param event virDomainEventType
    bool reaches_state(int event) noexcept;

    /// Events have been lost.
    void restart() noexcept
    {
        was_started_ = false;
    }

private:
    const int awaited_;
    bool was_started_ = false;
};

/// One async_wait_for_state(): the operation, and how to cancel the coroutine that performs it.
struct state_wait final : connection_user, std::enable_shared_from_this<state_wait>
{
    explicit state_wait(asio::any_io_executor s) : strand(std::move(s)) {}

    void abort() noexcept override
    {
        is_aborted = true;
        // Total, so that a call that is running is not interrupted.
        emit_cancellation(asio::cancellation_type::total);
    }

    void emit_cancellation(asio::cancellation_type type) noexcept
    {
        // Posted, so that the coroutine has executed its first step, which enables cancellation.
        asio::post(strand, [self = shared_from_this(), type] { self->cancellation.emit(type); });
    }

    void complete(std::exception_ptr e)
    {
        try {
            if (e)
                std::rethrow_exception(e);
        }
        catch (...) {
            result = current_failure();
        }
        operation.complete(std::move(result));
    }

    const asio::any_io_executor strand;
    asio::cancellation_signal cancellation; // used on the strand only
    std::atomic<bool> is_aborted{false};
    pending_operation<void(error_code)> operation;
    failure result;
};

/// Whether the operation has been cancelled. Tested after each call, because not every type of cancellation
/// ends a call that has begun.
inline bool is_cancelled(const state_wait& wait, const asio::cancellation_state& state) noexcept
{
    return wait.is_aborted || state.cancelled() != asio::cancellation_type::none;
}

/// Runs the coroutine wait_for(wait), which returns the failure of the operation.
template <class WaitFor>
asio::awaitable<void> run_state_wait(WaitFor wait_for, std::shared_ptr<state_wait> wait)
{
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    auto result = co_await wait_for(wait);
    // After a cancellation, another failure may be its consequence: the connection is not open any more.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (result && is_cancelled(*wait, cancellation))
        result = error_code(asio::error::operation_aborted);
    wait->result = std::move(result);
}

/// Launches the operation that the coroutine wait_for(wait) performs.
template <class WaitFor>
std::shared_ptr<state_wait> launch_state_wait(
    const asio::any_io_executor& executor, wait_handler handler, error_details* details, WaitFor wait_for)
{
    const auto wait = std::make_shared<state_wait>(strand_of(executor));
    on_cancel(handler, [weak = std::weak_ptr(wait)](asio::cancellation_type type) {
        if (const auto w = weak.lock())
            w->emit_cancellation(type);
    });
    wait->operation.start(std::move(handler), executor, details);
    asio::co_spawn(
        wait->strand, run_state_wait(std::move(wait_for), wait),
        asio::bind_cancellation_slot(
            wait->cancellation.slot(), [wait](std::exception_ptr e) { wait->complete(e); }));
    return wait;
}

} // namespace avirt::detail
