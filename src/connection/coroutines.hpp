// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/await_operation.hpp"

#include <avirt/detail/connection_impl.hpp>

#include <memory>
#include <tuple>
#include <utility>

// The operations of a connection as coroutines. None of them throws: each returns its failure.
namespace avirt::detail {

inline asio::awaitable<failure> open(std::shared_ptr<connection_impl> connection, open_options options)
{
    failure f;
    std::tie(f.code) = co_await await_operation<void(error_code)>(
        [&](auto handler) { connection->async_open(options, wait_handler(std::move(handler)), &f.details); });
    co_return f;
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
