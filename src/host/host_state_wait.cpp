// SPDX-License-Identifier: BSL-1.0
#include <avirt/domain_state.hpp>

#include "host/coroutines.hpp"
#include "host/domain_status.hpp"
#include "host/state_wait.hpp"

#include <libvirt/virterror.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

namespace avirt::detail {
namespace {

failure failure_of(virErrorNumber code, int domain, std::string message)
{
    failure f(error_code(code, libvirt_category()));
    f.details.domain = domain;
    f.details.code = code;
    f.details.level = VIR_ERR_ERROR;
    f.details.message = std::move(message);
    return f;
}

/// A wait for a domain's state that follows the reports of a host.
class wait_on_host
{
public:
    wait_on_host(std::string name, int state) : name_(std::move(name)), state_(state), sequence_(state) {}

    /// Returns whether the wait is over, with the result @p why.
    bool is_over(const host_connected& connected, bool has_events, failure& why)
    {
        sequence_.restart();
        const auto found = std::ranges::find_if(connected.domains, [&](const auto& d) { return is_it(d); });
        if (found == connected.domains.end())
            return is_gone(why);
        uuid_ = found->uuid;
        if (found->state == state_)
            return true;
        if (!has_events)
            why = failure_of(VIR_ERR_NO_SUPPORT, VIR_FROM_NONE, "the driver does not report events");
        return !has_events;
    }

    bool is_over(const domain_changed& changed, failure& why)
    {
        if (!is_it(changed.status))
            return false;
        const bool is_reached = sequence_.reaches_state(changed.event);
        if (changed.is_gone && !is_reached)
            return is_gone(why);
        return is_reached || changed.status.state == state_;
    }

private:
    bool is_it(const domain_status& d) const
    {
        return uuid_.empty() ? is_called(d, name_) : d.uuid == uuid_;
    }

    bool is_gone(failure& why) const
    {
        if (uuid_.empty())
            why = failure_of(
                VIR_ERR_NO_DOMAIN, VIR_FROM_DOM,
                "Domain not found: no domain has the name or UUID '" + name_ + "'");
        else if (state_ != VIR_DOMAIN_SHUTOFF)
            why = domain_gone();
        return true;
    }

    const std::string name_;
    const int state_;
    std::string uuid_; // empty until the domain has been found
    state_sequence sequence_;
};

asio::awaitable<failure> follow(
    std::shared_ptr<supervisor_impl> host, std::string name, int state, std::shared_ptr<state_wait> waiting)
{
    const auto feed = std::make_shared<host_feed_impl>(host, 1024);
    wait_on_host wait(std::move(name), state);
    for (;;) {
        const auto next = co_await receive(feed);
        // The cancellation may have come when the receive had already been completed.
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (waiting->is_cancelled(cancellation))
            co_return failure(error_code(asio::error::operation_aborted));
        if (next.error.code == error::events_lost)
            continue; // host_connected follows.
        if (next.error)
            co_return next.error;
        failure why;
        const auto* connected = std::get_if<host_connected>(&next.value);
        const auto* changed = std::get_if<domain_changed>(&next.value);
        if (connected && wait.is_over(*connected, host->has_events(), why))
            co_return why;
        if (changed && wait.is_over(*changed, why))
            co_return why;
    }
}

} // namespace

void async_wait_for_state(
    std::shared_ptr<supervisor_impl> host, const asio::any_io_executor& executor, std::string name, int state,
    wait_handler handler, error_details* details)
{
    const auto wait_for = [host, name = std::move(name), state](std::shared_ptr<state_wait> waiting) {
        return follow(host, name, state, std::move(waiting));
    };
    launch_state_wait(executor, std::move(handler), details, wait_for);
}

} // namespace avirt::detail
