// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/coroutine_operation.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/events.hpp>

#include <boost/asio/any_io_executor.hpp>

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

/// One async_wait_for_state().
struct state_wait final : connection_user, coroutine_operation<>
{
    using coroutine_operation::coroutine_operation;

    void abort() noexcept override
    {
        coroutine_operation::abort();
    }
};

/// Launches the operation that the coroutine wait_for(wait) performs.
template <class WaitFor>
std::shared_ptr<state_wait> launch_state_wait(
    const asio::any_io_executor& executor, wait_handler handler, error_details* details, WaitFor wait_for)
{
    const auto wait = std::make_shared<state_wait>(executor);
    wait->launch(wait, std::move(handler), executor, details, std::move(wait_for));
    return wait;
}

} // namespace avirt::detail
