// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/detail/supervisor_impl.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

// The operations of the compiled implementations as coroutines. None of them throws: each returns its
// failure.
namespace avirt::detail {

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

inline asio::awaitable<failure> open(std::shared_ptr<connection_impl> connection, open_options options)
{
    failure f;
    std::tie(f.code) = co_await await_operation<void(error_code)>(
        [&](auto handler) { connection->async_open(options, wait_handler(std::move(handler)), &f.details); });
    co_return f;
}

inline asio::awaitable<failure> subscribe(std::shared_ptr<event_source_impl> source)
{
    failure f;
    std::tie(f.code) = co_await await_operation<void(error_code)>(
        [&](auto handler) { source->async_subscribe(wait_handler(std::move(handler)), &f.details); });
    co_return f;
}

inline asio::awaitable<void> resubscribe(std::shared_ptr<event_source_impl> source)
{
    co_await await_operation<void(error_code)>(
        [&](auto handler) { source->async_resubscribe(wait_handler(std::move(handler)), nullptr); });
}

inline asio::awaitable<failure> wait_closed(
    std::shared_ptr<connection_impl> connection, asio::cancellation_slot slot)
{
    failure f;
    close_reason reason{};
    std::tie(f.code, reason) = co_await await_operation<void(error_code, close_reason)>([&](auto handler) {
        connection->async_wait_closed(bind_slot<closed_handler>(slot, std::move(handler)), &f.details);
    });
    co_return f;
}

/// The value of an operation that succeeded, or its failure.
template <class T>
struct outcome
{
    failure error{};
    T value{};
};

template <class Event>
asio::awaitable<outcome<Event>> receive(
    std::shared_ptr<event_source_impl> source, asio::cancellation_slot slot = {})
{
    outcome<Event> result;
    std::unique_ptr<erased_event> event;
    std::tie(result.error.code, event) =
        co_await await_operation<void(error_code, std::unique_ptr<erased_event>)>([&](auto handler) {
            source->async_receive(bind_slot<event_handler>(slot, std::move(handler)), &result.error.details);
        });
    if (event)
        result.value = std::move(static_cast<held_event<Event>&>(*event).event);
    co_return result;
}

inline asio::awaitable<outcome<host_report>> receive(std::shared_ptr<host_feed_impl> feed)
{
    outcome<host_report> result;
    std::tie(result.error.code, result.value) =
        co_await await_operation<void(error_code, host_report)>([&](auto handler) {
            feed->async_receive(report_handler(std::move(handler)), &result.error.details);
        });
    co_return result;
}

template <class F>
asio::awaitable<outcome<call_result<F>>> call_on(std::shared_ptr<connection_impl> connection, F function)
{
    outcome<call_result<F>> result;
    const auto f = std::make_shared<call<F>>(std::move(function));
    bool has_returned = false;
    std::tie(result.error.code, has_returned) =
        co_await await_operation<void(error_code, bool)>([&](auto handler) {
            connection->async_call(f, call_handler(std::move(handler)), &result.error.details);
        });
    if (has_returned)
        result.value = f->take_result();
    co_return result;
}

} // namespace avirt::detail
