// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/initiate_transfer.hpp>
#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <boost/asio/buffer.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace avirt {

/// What async_receive_all() passes the bytes to: an AsyncWriteStream, as an lvalue; a DynamicBuffer; or
/// a function `void(asio::const_buffer)`.
template <class T>
concept byte_sink = (std::is_lvalue_reference_v<T> && detail::writable_stream<std::remove_reference_t<T>>)
    || (boost::asio::is_dynamic_buffer<std::decay_t<T>>::value && std::constructible_from<std::decay_t<T>, T>)
    || std::invocable<std::decay_t<T>&, boost::asio::const_buffer>;

/// Asynchronously receives everything that a stream has, up to its end.
///
/// The next bytes are received when the sink has taken those before: a slow sink holds the stream back. The
/// operation neither finishes nor closes a stream. Nothing else may read the stream meanwhile, nor write to
/// a sink that is a stream.
///
/// If the stream stops at holes (basic_async_stream::stop_at_holes()), the holes are passed on as holes to
/// a sink that has a member async_write_hole(), such as an async_stream that was opened on a sparse
/// volume_upload. All other sinks are given zeros.
///
/// @param from The AsyncReadStream: an async_stream, a socket, a layer above one. It must remain valid until
/// the completion handler is invoked.
/// @param to The sink.
/// @li An AsyncWriteStream, which must remain valid until the completion handler is invoked.
/// @li A DynamicBuffer, to which the bytes are appended. It is copied, so it has to refer to its memory, as
/// the results of asio::dynamic_buffer() do.
/// @li A function `void(asio::const_buffer)`, which is moved or copied, and called with some bytes at a time.
/// It is called from the operation's executor.
/// @param options
/// @li transfer_options::offset: the number of bytes that are received and thrown away before the others. If
/// the stream ends before, nothing is passed on, which is no error.
/// @li transfer_options::length: the operation ends after so many bytes. No more than that are read from the
/// stream, unless the last of them are the beginning of a hole.
/// @li transfer_options::sparse: if it is false, the sink is given zeros in the place of holes.
/// @li transfer_options::bytes_per_second, @ref transfer_options::on_progress "on_progress" and
/// @ref transfer_options::limits "limits". progress::total is unknown.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`. The progress says what the sink has been given, whatever the result.
///
/// @par Errors
/// @li The errors of the stream, except asio::error::eof, which means success, and those of a sink that is
/// a stream.
/// @li asio::error::no_buffer_space: the bytes exceed the max_size() of the DynamicBuffer, which is full.
/// @li error::call_threw: the sink or on_progress threw an exception that carries no error code.
///
/// @par Per-operation cancellation
/// Terminal, partial and total, as of the read or the write that is outstanding. Bytes that have been read
/// and not been written by then are lost.
///
/// @par Executor
/// The algorithm runs, and calls functions, on a strand of the executor that is associated with the handler
/// if that is an I/O executor, and otherwise of the stream's.
///
/// @code
/// std::string log;
/// co_await avirt::async_receive_all(stream, asio::dynamic_buffer(log));
/// @endcode
template <
    detail::readable_stream AsyncReadStream, byte_sink Sink,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress))
        Token = detail::default_token_t<typename AsyncReadStream::executor_type>>
auto async_receive_all(AsyncReadStream& from, Sink&& to, transfer_options options = {}, Token&& token = {})
{
    return detail::initiate_with_function<Token, void(error_code, progress)>(
        detail::initiation(from, detail::launch_receive_all{std::move(options)}), token,
        detail::kept_end(std::forward<Sink>(to)));
}

} // namespace avirt
