// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/cancel_after.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <chrono>

namespace avirt {

/// Adapts a completion token so that the operation is cancelled, terminally, if it has not completed after a
/// timeout.
///
/// This is asio::cancel_after, which Asio has since Boost 1.86; with an older Boost it is avirt's own
/// implementation. It works with any operation of Asio, Beast and avirt that supports cancellation, and may
/// stand anywhere in a chain of token adapters (as_tuple, bind_executor, with_details, ...).
///
/// The completion handler is invoked when both the operation and the timer have ended. It keeps its
/// associated executor and allocator.
///
/// Adapters that bind something have to be inside, as in `cancel_after(timeout, bind_executor(strand,
/// token))`. If bind_executor or bind_cancellation_slot is outside, it applies to the operation only, with
/// Asio's own cancel_after too: the handler is not invoked on that executor, and that slot replaces the
/// timer's.
///
/// @param timeout The maximum time from the initiation of the operation on, measured by
/// std::chrono::steady_clock. The timer uses the I/O executor of the operation.
/// @param token The token to adapt.
///
/// @par Completion signature
/// That of the operation.
///
/// @par Errors
/// @li operation_aborted, or what else the operation completes with when it is cancelled. It may also have
/// succeeded at the same time. async_read() and the like report how much was transferred.
///
/// @par Per-operation cancellation
/// A cancellation that reaches the token's slot is passed on to the operation.
///
/// @par Thread safety
/// The timer cancels the operation concurrently with other uses of its object. If several threads run the
/// context, the operation must be started and completed in a strand, implicit or explicit.
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

/// Adapts a completion token so that the operation is cancelled if it has not completed after a timeout.
///
/// @param timeout The maximum time from the initiation of the operation on.
/// @param type The type of the cancellation. Partial and total cancellation leave the object usable, if the
/// operation supports them.
/// @param token The token to adapt.
///
/// See cancel_after(std::chrono::steady_clock::duration, Token&&).
template <class Token>
auto cancel_after(std::chrono::steady_clock::duration timeout, asio::cancellation_type type, Token&& token)
{
    return detail::make_cancel_after(timeout, type, detail::forward_token<Token>(token));
}

} // namespace avirt
