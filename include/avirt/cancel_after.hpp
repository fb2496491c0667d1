// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/cancel_after.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <chrono>

namespace avirt {

/// A completion token that cancels the operation if it has not completed after @p timeout, and completes as
/// @p token does.
///
/// This is asio::cancel_after, which Asio has since Boost 1.86, for older Boost too. It works with any
/// operation of Asio's and avirt's that supports cancellation, and may stand anywhere in a chain of token
/// adapters (as_tuple, bind_executor, with_details, ...).
///
/// @param timeout How long the operation may take from its initiation on, in any unit of std::chrono. The
/// clock is std::chrono::steady_clock, and the timer runs on the I/O executor of the operation.
/// @param token Completion signature: that of the operation.
///
/// Errors: operation_aborted after the timeout, or what else the operation completes with when it is
/// cancelled; it may have succeeded at the same time. async_read() and the like tell how much was
/// transferred.
///
/// Cancellation: a cancellation that reaches the token's slot is passed on to the operation.
///
/// The completion handler is invoked when both the operation and the timer have ended. It keeps its
/// associated executor and allocator.
///
/// What is bound goes inside, as `cancel_after(timeout, bind_executor(strand, token))`. A bind_executor or
/// bind_cancellation_slot outside concerns the operation alone, with Asio's own cancel_after too: the handler
/// would not be invoked on that executor, and that slot would take the place of the timer's.
///
/// Thread safety: the timer cancels the operation concurrently with what else is done to its object: if
/// several threads run the context, the operation must be started and completed in a strand, implicit or
/// explicit.
///
/// @code
/// auto [ec, n] = co_await stream.async_read_some(
///     asio::buffer(memory), avirt::cancel_after(5s, asio::as_tuple(asio::use_awaitable)));
/// if (ec == asio::error::operation_aborted)
///     std::cerr << "nothing in five seconds\n";
/// @endcode
template <class Token>
auto cancel_after(std::chrono::steady_clock::duration timeout, Token&& token)
{
    return detail::make_cancel_after(
        timeout, asio::cancellation_type::terminal, detail::forward_token<Token>(token));
}

/// The same, with another type of cancellation than terminal.
///
/// @param type What the operation is cancelled with: partial or total leave its object usable where the
/// operation supports them.
template <class Token>
auto cancel_after(std::chrono::steady_clock::duration timeout, asio::cancellation_type type, Token&& token)
{
    return detail::make_cancel_after(timeout, type, detail::forward_token<Token>(token));
}

} // namespace avirt
