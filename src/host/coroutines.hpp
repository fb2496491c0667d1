// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/coroutines.hpp"

#include <avirt/detail/event_source_impl.hpp>
#include <avirt/detail/supervisor_impl.hpp>

#include <memory>
#include <tuple>
#include <utility>

// The operations of the compiled implementations as coroutines. None of them throws: each returns its
// failure.
namespace avirt::detail {

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

} // namespace avirt::detail
