// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>

#include <boost/beast/core/role.hpp>

#include <utility>

/// @file
/// What Beast's WebSockets need of the stream that they run on. Include it together with
/// boost/beast/websocket.hpp; avirt/avirt.hpp does not include it. Beast's HTTP works without it.
///
/// @code
/// boost::beast::websocket::stream<avirt::async_stream> ws{std::move(stream)};
/// co_await ws.async_handshake("guest", "/", asio::use_awaitable);
/// @endcode

namespace avirt {

/// Closes the stream for Beast, when a timeout of a WebSocket expires: see basic_async_stream::close().
template <class Executor>
void beast_close_socket(basic_async_stream<Executor>& stream) noexcept
{
    stream.close();
}

/// Ends the stream for Beast, when a WebSocket has been closed: see basic_async_stream::async_finish().
///
/// Everything that was sent is delivered, the answer to the peer's close included. A peer that takes nothing
/// more can delay that for any length of time: as with any other stream, a timeout of the WebSocket
/// (websocket::stream_base::timeout), a cancellation or closing the stream ends the operation.
///
/// @param stream The stream. It is not open afterwards.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code)`
///
/// @par Errors
/// Those of basic_async_stream::async_finish().
///
/// @par Per-operation cancellation
/// Terminal, partial and total. A connection of the stream's own is cut off.
template <class Executor, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token>
auto async_teardown(boost::beast::role_type, basic_async_stream<Executor>& stream, Token&& token)
{
    return stream.async_finish(std::forward<Token>(token));
}

} // namespace avirt
