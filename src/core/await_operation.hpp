// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

// The operations of the compiled implementations as coroutines.
namespace avirt::detail {

/// The value of an operation that succeeded, or its failure.
template <class T>
struct outcome
{
    failure error{};
    T value{};
};

/// Awaits the operation that launch(handler) launches. Returns the handler's arguments as a tuple.
template <class Signature, class Launch>
auto await_operation(Launch launch)
{
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    return asio::async_initiate<decltype(token), Signature>(
        [launch](auto handler) { launch(std::move(handler)); }, token);
}

/// Binds the slot that cancels the operation to its handler. If the slot is not connected, the coroutine's
/// own slot cancels the operation.
template <class ErasedHandler, class Handler>
ErasedHandler bind_slot(const asio::cancellation_slot& slot, Handler handler)
{
    if (slot.is_connected())
        return ErasedHandler(asio::bind_cancellation_slot(slot, std::move(handler)));
    return ErasedHandler(std::move(handler));
}

} // namespace avirt::detail
