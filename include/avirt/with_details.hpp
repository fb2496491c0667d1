// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/with_details.hpp>
#include <avirt/error.hpp>

#include <type_traits>

namespace avirt {

/// Adapts a completion token so that @p details is filled if the operation fails.
///
/// The adapted token completes as @p token does, and may stand anywhere in a chain of token adapters
/// (as_tuple, redirect_error, bind_cancellation_slot, cancel_after, ...). It works through Asio's composed
/// operations too. If a chain contains two of them, the outer one is filled.
///
/// @param token The token to adapt.
/// @param details Filled on failure, unchanged on success. Must remain valid until the completion handler is
/// invoked.
///
/// @code
/// avirt::error_details why;
/// conn.async_open("qemu:///system", avirt::with_details([&](boost::system::error_code ec) {
///     if (ec)
///         std::cerr << why.message << '\n';
/// }, why));
/// @endcode
template <class Token>
auto with_details(Token&& token, error_details& details)
{
    return detail::filling_token<std::decay_t<Token>>(detail::forward_token<Token>(token), details);
}

/// Adapts a completion token that throws, such as use_awaitable or use_future, so that it throws
/// avirt::exception. what() and details() of the exception contain libvirt's own message.
///
/// The adapted token may stand anywhere in a chain of token adapters. Inside an adapter that takes the
/// error_code (as_tuple, redirect_error) it has no effect, because nothing is thrown there.
///
/// @param token The token to adapt.
///
/// @code
/// co_await conn.async_open(uri, avirt::with_details(asio::use_awaitable));
/// @endcode
template <class Token>
auto with_details(Token&& token)
{
    return detail::throwing_token<std::decay_t<Token>>(detail::forward_token<Token>(token));
}

} // namespace avirt
