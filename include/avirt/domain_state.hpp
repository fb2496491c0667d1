// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/error.hpp>

#include <memory>
#include <string>
#include <utility>

namespace avirt {

namespace detail {

AVIRT_DECL void async_wait_for_state(
    std::shared_ptr<connection_impl> connection, const asio::any_io_executor& executor, std::string name,
    int state, wait_handler handler, error_details* details);

template <class Executor>
struct initiate_wait_for_state
{
    basic_connection<Executor>* on;
    using executor_type = Executor;

    executor_type get_executor() const noexcept
    {
        return on->get_executor();
    }

    template <class Handler>
    void operator()(Handler&& handler, std::string name, int state) const
    {
        auto* details = get_associated_details(handler);
        async_wait_for_state(
            implementation_of(*on), on->get_executor(), std::move(name), state,
            wait_handler(std::forward<Handler>(handler)), details);
    }
};

} // namespace detail

/// Waits for a domain to be in a state, or to have been in it for a moment where libvirt reports that (it
/// reports neither VIR_DOMAIN_BLOCKED nor VIR_DOMAIN_NOSTATE): nothing is missed between asking for the
/// state and listening for changes.
///
/// @param on The connection, which may be used for other things meanwhile. Its cancel(), close() and the like
/// end the wait, with operation_aborted.
/// @param name The domain's name, or its UUID.
/// @param state virDomainState, VIR_DOMAIN_SHUTOFF for instance, which a domain that does not exist any more
/// (a transient one) is in too.
/// @param token Completion signature: `void(error_code)`.
///
/// Errors: error::not_open; condition::not_found where there is no such domain, and where it goes away while
/// another state is waited for; condition::not_supported where the driver reports no events;
/// condition::connection_lost. Cancellation: terminal, partial and total; while the daemon is being asked, as
/// basic_connection::async_call().
///
/// libvirt: virDomainLookupByName, virDomainLookupByUUIDString, virConnectDomainEventRegisterAny,
/// virDomainGetState.
///
/// @code
/// co_await conn.async_call([](virConnectPtr c) { return shut_down(c, "vm1"); });
/// co_await avirt::async_wait_for_state(conn, "vm1", VIR_DOMAIN_SHUTOFF);
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
auto async_wait_for_state(basic_connection<Executor>& on, std::string name, int state, Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code)>(
        detail::initiate_wait_for_state<Executor>{&on}, token, std::move(name), state);
}

} // namespace avirt
