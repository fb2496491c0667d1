// SPDX-License-Identifier: BSL-1.0
#include "transfer/transfer_operation.hpp"

#include "core/await_operation.hpp"
#include "transfer/shared_limits.hpp"

#include <memory>
#include <tuple>
#include <utility>

namespace avirt::detail {
namespace {

using operation = coroutine_operation<progress>;

asio::awaitable<outcome<shared_limits::place>> take_place(
    std::shared_ptr<shared_limits> limits, asio::any_io_executor executor)
{
    outcome<shared_limits::place> result;
    std::tie(result.error.code, result.value) =
        co_await await_operation<void(error_code, shared_limits::place)>([&](auto handler) {
            limits->async_take_place(executor, shared_limits::place_handler(std::move(handler)));
        });
    co_return result;
}

asio::awaitable<failure> call(const transfer_function& transfer, transfer_meter& meter)
{
    try {
        co_return co_await transfer(meter);
    }
    catch (...) {
        co_return current_failure();
    }
}

asio::awaitable<failure> perform(
    std::shared_ptr<operation> self, transfer_options options, transfer_function transfer)
{
    outcome<shared_limits::place> place;
    if (options.limits)
        place = co_await take_place(implementation_of(*options.limits), self->strand());
    failure result = std::move(place.error);
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (self->is_cancelled(cancellation))
        result = error_code(asio::error::operation_aborted);
    transfer_meter meter(options);
    if (!result)
        result = co_await call(transfer, meter);
    try {
        meter.finish();
    }
    catch (...) {
        if (!result)
            result = current_failure();
    }
    std::get<0>(self->values) = meter.so_far();
    co_return result;
}

} // namespace

void launch_transfer(
    const transfer_executors& executors, transfer_options options, transfer_handler handler,
    error_details* details, transfer_function transfer)
{
    const auto self = std::make_shared<operation>(executors.handlers);
    self->launch(
        self, std::move(handler), executors.io, details,
        [options = std::move(options), transfer = std::move(transfer)](std::shared_ptr<operation> o) {
            return perform(std::move(o), options, transfer);
        });
}

} // namespace avirt::detail
