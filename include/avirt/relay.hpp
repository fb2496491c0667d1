// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/erase_handler.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/transfer_ends.hpp>

#include <boost/asio/any_completion_handler.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt {

namespace detail {

using relay_handler = asio::any_completion_handler<void(error_code, std::uint64_t, std::uint64_t)>;

/// One of the two streams of a relay.
struct relay_end
{
    std::unique_ptr<stream_reader> reader;
    std::shared_ptr<stream_writer> writer;
};

template <class Stream>
relay_end relay_end_of(Stream& stream)
{
    return {
        std::make_unique<any_stream_reader<Stream>>(stream),
        std::make_shared<any_stream_writer<Stream>>(stream)};
}

AVIRT_DECL void async_relay(
    relay_end a, relay_end b, const transfer_executors& executors, relay_handler handler,
    error_details* details);

struct launch_relay
{
    template <class A, class Handler, class B>
    void operator()(A& a, Handler&& handler, error_details* details, stream_pointer<B> b) const
    {
        const auto executors = executors_of(handler, a.get_executor());
        async_relay(
            relay_end_of(a), relay_end_of(*b.stream), executors,
            erase_handler<void(error_code, std::uint64_t, std::uint64_t)>(
                std::forward<Handler>(handler), a.get_executor()),
            details);
    }
};

template <class T>
concept relayed_stream = readable_stream<T> && writable_stream<T>;

} // namespace detail

/// Asynchronously relays between two streams: passes what either of them receives on to the other.
///
/// Each direction has a small buffer, and is read again when the other stream has taken what was read, so
/// a slow reader holds the writer back. The two directions do not wait for each other. Nothing else may read
/// or write the streams meanwhile. The operation neither finishes nor closes them.
///
/// If one of the streams ends, the other one is shut down for sending (its member function
/// `shutdown(asio::socket_base::shutdown_send, error_code&)`, or that of a layer below it), and the other
/// direction goes on until it ends as well. An async_stream and a TLS stream cannot be shut down in one
/// direction; then the end of one stream ends the relay, with success. An error ends both directions.
///
/// @param a An AsyncStream (async_stream, a socket, a TLS stream, ...). It must remain valid until the
/// completion handler is invoked, and so must @p b.
/// @param b The other one.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, std::uint64_t a_to_b, std::uint64_t b_to_a)`. The numbers of bytes that were passed on,
/// whatever the result.
///
/// @par Errors
/// Those of the streams, except asio::error::eof, whichever comes first. Bytes that were read and could not
/// be written are lost.
///
/// @par Per-operation cancellation
/// Terminal, partial and total, as of the reads and the writes that are outstanding.
///
/// @par Executor
/// The algorithm runs on a strand of the executor that is associated with the handler if that is an I/O
/// executor, and otherwise of @p a's executor.
///
/// @code
/// asio::ip::tcp::socket client = co_await acceptor.async_accept();
/// co_await console.async_open(conn, avirt::console{"vm1"});
/// co_await avirt::async_relay(client, console);
/// co_await console.async_finish(); // Leaves the console to the next one.
/// @endcode
template <
    detail::relayed_stream A, detail::relayed_stream B,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::uint64_t, std::uint64_t))
        Token = detail::default_token_t<typename A::executor_type>>
auto async_relay(A& a, B& b, Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, std::uint64_t, std::uint64_t)>(
        detail::initiation(a, detail::launch_relay()), token, detail::stream_pointer<B>{&b});
}

} // namespace avirt
