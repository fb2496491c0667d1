// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/error.hpp>
#include <avirt/supervised_connection.hpp>
#include <avirt/to_string.hpp>

#include <memory>
#include <string>
#include <utility>

namespace avirt {

namespace detail {

AVIRT_DECL void async_wait_for_state(
    std::shared_ptr<connection_impl> connection, const asio::any_io_executor& executor, std::string name,
    int state, wait_handler handler, error_details* details);

AVIRT_DECL void async_wait_for_state(
    std::shared_ptr<supervisor_impl> host, const asio::any_io_executor& executor, std::string name, int state,
    wait_handler handler, error_details* details);

template <class Object, class Token>
auto initiate_wait_for_state(Object& on, std::string name, int state, Token& token)
{
    const auto launch = [](Object& object, auto&& handler, error_details* details, std::string which,
                           int wanted) {
        detail::async_wait_for_state(
            detail::implementation_of(object), object.get_executor(), std::move(which), wanted,
            detail::erase_handler<void(error_code)>(
                std::forward<decltype(handler)>(handler), object.get_executor()),
            details);
    };
    return asio::async_initiate<Token, void(error_code)>(
        detail::initiation(on, launch), token, std::move(name), state);
}

} // namespace detail

/// Asynchronously waits until a domain is in a state.
///
/// The operation also succeeds if the domain has been in the state for a moment only, provided that libvirt
/// reports that; it reports neither VIR_DOMAIN_BLOCKED nor VIR_DOMAIN_NOSTATE. No change is missed between
/// asking for the state and listening for changes.
///
/// @param conn The connection. It may be used for other things meanwhile, and must be open when the
/// operation is launched; its cancel(), close() and release() end the wait.
/// @param name The domain's name or UUID.
/// @param state virDomainState. A domain that no longer exists, such as a transient domain that was shut
/// down, is in the state VIR_DOMAIN_SHUTOFF.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code)`
///
/// @par Errors
/// @li error::not_open: the connection is not open.
/// @li condition::not_found: the domain does not exist, or ceased to exist while another state was awaited.
/// @li condition::not_supported: the driver does not report events.
/// @li condition::connection_lost: the connection is lost.
///
/// @par Per-operation cancellation
/// Terminal, partial and total; while the daemon is being asked, as of basic_connection::async_call().
///
/// @par libvirt
/// virDomainLookupByName, virDomainLookupByUUIDString, virConnectDomainEventRegisterAny, virDomainGetState.
///
/// @code
/// co_await conn.async_call([](virConnectPtr c) { return shut_down(c, "vm1"); });
/// co_await avirt::async_wait_for_state(conn, "vm1", VIR_DOMAIN_SHUTOFF);
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
auto async_wait_for_state(basic_connection<Executor>& conn, std::string name, int state, Token&& token = {})
{
    return detail::initiate_wait_for_state(conn, std::move(name), state, token);
}

/// Asynchronously waits until a domain is in a state, on a host that may go away and come back meanwhile.
///
/// The operation also succeeds if the domain has been in the state for a moment only, provided that libvirt
/// reports that; not if that was while the connection was lost.
///
/// @param host The supervised connection. Several threads may launch the operation at the same time.
/// @param name The domain's name or UUID.
/// @param state virDomainState. A domain that has ceased to exist is in the state VIR_DOMAIN_SHUTOFF.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code)`
///
/// @par Errors
/// @li error::not_open: the host had been closed. If it is closed meanwhile: operation_aborted.
/// @li error::no_event_loop: no event_loop exists.
/// @li condition::not_found: the domain does not exist, or ceased to exist while another state was awaited.
/// @li condition::not_supported: the driver does not report events.
///
/// @par Per-operation cancellation
/// Terminal, partial and total.
///
/// @code
/// co_await avirt::async_wait_for_state(host, "vm1", VIR_DOMAIN_RUNNING);
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
auto async_wait_for_state(
    basic_supervised_connection<Executor>& host, std::string name, int state, Token&& token = {})
{
    return detail::initiate_wait_for_state(host, std::move(name), state, token);
}

} // namespace avirt
