// SPDX-License-Identifier: BSL-1.0
#include <avirt/domain_state.hpp>

#include "connection/find_domain.hpp"
#include "host/coroutines.hpp"
#include "host/domain_status.hpp"
#include "host/state_wait.hpp"

#include <avirt/event_source.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <memory>
#include <utility>

namespace avirt::detail {
namespace {

/// Waits while @p events is subscribed.
asio::awaitable<failure> wait_for_state(
    std::shared_ptr<connection_impl> connection, std::shared_ptr<event_source_impl> events,
    std::shared_ptr<domain> vm, int state, std::shared_ptr<state_wait> wait)
{
    const auto ask_for_status = [vm](virConnectPtr) { return status_of(vm->ref()); };
    state_sequence sequence(state);
    while (!wait->is_aborted()) {
        auto now = co_await call_on(connection, ask_for_status);
        if (now.error)
            co_return now.error;
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (wait->is_cancelled(cancellation))
            break;
        if (now.value ? now.value->state == state : state == VIR_DOMAIN_SHUTOFF)
            co_return failure();
        if (!now.value)
            co_return domain_gone();
        const auto next = co_await receive<domain_lifecycle>(events);
        if (next.error && next.error.code != error::events_lost)
            co_return next.error;
        if (next.error)
            sequence.restart();
        else if (sequence.reaches_state(next.value.event))
            co_return failure();
    }
    co_return failure(error_code(asio::error::operation_aborted));
}

asio::awaitable<failure> find_and_wait(
    std::shared_ptr<connection_impl> connection, std::string name, int state,
    std::shared_ptr<state_wait> wait)
{
    const auto find = [name](virConnectPtr c) {
        return std::make_shared<domain>(find_domain(c, name).release());
    };
    auto found = co_await call_on(connection, find);
    if (found.error)
        co_return found.error;
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (wait->is_cancelled(cancellation))
        co_return failure(error_code(asio::error::operation_aborted));
    event_source_options options;
    options.object = name;
    const auto events =
        event_source_impl::make(wait->strand(), connection, kind_of<domain_lifecycle>(), options);
    auto result = co_await subscribe(events);
    if (!result) // wait_for_state() tests whether the operation has been cancelled meanwhile.
        result = co_await wait_for_state(connection, events, found.value, state, wait);
    else if (state == VIR_DOMAIN_SHUTOFF && result.code == condition::not_found)
        result = {}; // The domain has ceased to exist since it was found.
    events->close();
    co_return result;
}

} // namespace

void async_wait_for_state(
    std::shared_ptr<connection_impl> connection, const asio::any_io_executor& executor, std::string name,
    int state, wait_handler handler, error_details* details)
{
    const auto wait_for = [connection, name = std::move(name), state](std::shared_ptr<state_wait> wait) {
        return find_and_wait(connection, name, state, std::move(wait));
    };
    connection->add_user(launch_state_wait(executor, std::move(handler), details, wait_for));
}

} // namespace avirt::detail
