// SPDX-License-Identifier: BSL-1.0
#include <avirt/domain_state.hpp>

#include "connection/find_domain.hpp"
#include "core/context_objects.hpp"
#include "core/pending_operation.hpp"
#include "host/coroutines.hpp"
#include "host/domain_status.hpp"

#include <avirt/event_source.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <libvirt/virterror.h>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace avirt::detail {
namespace {

/// The state in which a domain was when the lifecycle event was reported, if the event tells that.
std::optional<int> state_after(int event) noexcept
{
    switch (event) {
    case VIR_DOMAIN_EVENT_RESUMED:
        return VIR_DOMAIN_RUNNING;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        return VIR_DOMAIN_PAUSED;
    case VIR_DOMAIN_EVENT_SHUTDOWN:
        return VIR_DOMAIN_SHUTDOWN;
    case VIR_DOMAIN_EVENT_STOPPED:
        return VIR_DOMAIN_SHUTOFF;
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        return VIR_DOMAIN_PMSUSPENDED;
    case VIR_DOMAIN_EVENT_CRASHED:
        return VIR_DOMAIN_CRASHED;
    default:
        return std::nullopt;
    }
}

const error_code aborted = asio::error::operation_aborted;

failure domain_gone()
{
    failure f(error_code(VIR_ERR_NO_DOMAIN, libvirt_category()));
    f.details.domain = VIR_FROM_DOM;
    f.details.code = f.code.value();
    f.details.message = "Domain not found: it went away before it was in the state that is waited for";
    return f;
}

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
bool is_cancelled(const state_wait& wait, const asio::cancellation_state& state) noexcept
{
    return wait.is_aborted || state.cancelled() != asio::cancellation_type::none;
}

/// Waits while @p events is subscribed.
asio::awaitable<failure> wait_for_state(
    std::shared_ptr<connection_impl> connection, std::shared_ptr<event_source_impl> events,
    std::shared_ptr<domain> vm, int state, std::shared_ptr<state_wait> wait)
{
    const auto ask_for_status = [vm](virConnectPtr) { return status_of(vm->ref()); };
    bool was_started = false;
    while (!wait->is_aborted) {
        auto now = co_await call_on(connection, ask_for_status);
        if (now.error)
            co_return now.error;
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (is_cancelled(*wait, cancellation))
            break;
        if (now.value ? now.value->state == state : state == VIR_DOMAIN_SHUTOFF)
            co_return failure();
        if (!now.value)
            co_return domain_gone();
        const auto next = co_await receive<domain_lifecycle>(events);
        if (next.error && next.error.code != error::events_lost)
            co_return next.error;
        if (next.error) {
            was_started = false;
            continue;
        }
        const int event = next.value.event;
        // A domain that starts paused is also reported as started. Only the next event tells whether it ran.
        const bool has_run = was_started && event != VIR_DOMAIN_EVENT_SUSPENDED;
        if (state_after(event) == state || (state == VIR_DOMAIN_RUNNING && has_run))
            co_return failure();
        was_started = event == VIR_DOMAIN_EVENT_STARTED;
    }
    co_return failure(aborted);
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
    if (is_cancelled(*wait, cancellation))
        co_return failure(aborted);
    event_source_options options;
    options.object = name;
    const auto events =
        event_source_impl::make(wait->strand, connection, kind_of<domain_lifecycle>(), options);
    auto result = co_await subscribe(events);
    if (!result) // wait_for_state() tests whether the operation has been cancelled meanwhile.
        result = co_await wait_for_state(connection, events, found.value, state, wait);
    else if (state == VIR_DOMAIN_SHUTOFF && result.code == condition::not_found)
        result = {}; // The domain has ceased to exist since it was found.
    events->close();
    co_return result;
}

asio::awaitable<void> run(
    std::shared_ptr<connection_impl> connection, std::string name, int state,
    std::shared_ptr<state_wait> wait)
{
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await asio::this_coro::throw_if_cancelled(false);
    auto result = co_await find_and_wait(connection, std::move(name), state, wait);
    // After a cancellation, another failure may be its consequence: the connection is not open any more.
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (result && is_cancelled(*wait, cancellation))
        result = aborted;
    wait->result = std::move(result);
}

} // namespace

void async_wait_for_state(
    std::shared_ptr<connection_impl> connection, const asio::any_io_executor& executor, std::string name,
    int state, wait_handler handler, error_details* details)
{
    const auto wait = std::make_shared<state_wait>(strand_of(executor));
    on_cancel(handler, [weak = std::weak_ptr(wait)](asio::cancellation_type type) {
        if (const auto w = weak.lock())
            w->emit_cancellation(type);
    });
    wait->operation.start(std::move(handler), executor, details);
    connection->add_user(wait);
    asio::co_spawn(
        wait->strand, run(std::move(connection), std::move(name), state, wait),
        asio::bind_cancellation_slot(
            wait->cancellation.slot(), [wait](std::exception_ptr e) { wait->complete(e); }));
}

} // namespace avirt::detail
