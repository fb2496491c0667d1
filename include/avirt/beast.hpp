// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/error.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
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

/// Closes the stream for Beast, when a timeout of a WebSocket expires, as basic_async_stream::close() does.
/// Never blocks. Outstanding operations of the stream complete with operation_aborted.
///
/// @param stream The stream. It is not open afterwards.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @par libvirt
/// virStreamEventRemoveCallback, virStreamAbort, virStreamFree, on a worker thread.
template <class Executor>
void beast_close_socket(basic_async_stream<Executor>& stream) noexcept
{
    stream.close();
}

/// Asynchronously finishes the stream for Beast, when a WebSocket has been closed, as
/// basic_async_stream::async_finish() does.
///
/// On success everything that was sent has been delivered, the answer to the peer's close included, unless
/// the peer is gone. That is a success too, so that a WebSocket reports the close as such: a peer need not
/// read anything after its own close, and before it answers the other side's, it has read all that came
/// before.
///
/// A peer that stops reading can delay the operation for any length of time. As with any other stream,
/// a timeout of the WebSocket (websocket::stream_base::timeout: its handshake_timeout after
/// websocket::stream::async_close, otherwise its idle_timeout), a cancellation or closing the stream ends the
/// operation.
///
/// @param stream The stream.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code)`
///
/// @par Errors
/// Those of basic_async_stream::async_finish(), except those that only say that the peer is gone:
/// condition::guest_gone and asio::error::broken_pipe.
///
/// The stream is not open afterwards, whatever the result, except after error::operation_in_progress.
///
/// @par Per-operation cancellation
/// Terminal, partial and total. A connection of the stream's own is cut off.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @par libvirt
/// virStreamFinish, on a worker thread.
template <class Executor, BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token>
auto async_teardown(boost::beast::role_type, basic_async_stream<Executor>& stream, Token&& token)
{
    return asio::async_compose<Token, void(error_code)>(
        [&stream, is_finishing = false](auto& self, const error_code& ec = {}) mutable {
            if (!std::exchange(is_finishing, true)) {
                self.reset_cancellation_state(asio::enable_total_cancellation());
                stream.async_finish(std::move(self));
                return;
            }
            const bool is_peer_gone = ec == condition::guest_gone || ec == asio::error::broken_pipe;
            self.complete(is_peer_gone ? error_code() : ec);
        },
        token, stream);
}

} // namespace avirt
