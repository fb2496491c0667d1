// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/initiate_transfer.hpp>
#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <boost/asio/buffer.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace avirt {

/// What async_send_all() takes the bytes from: an AsyncReadStream, as an lvalue; a ConstBufferSequence; or
/// a function `std::size_t(asio::mutable_buffer)`.
template <class T>
concept byte_source = (std::is_lvalue_reference_v<T> && detail::readable_stream<std::remove_reference_t<T>>)
    || boost::asio::is_const_buffer_sequence<std::decay_t<T>>::value
    || requires(std::decay_t<T>& function, boost::asio::mutable_buffer buffer)
{
    {
        function(buffer)
        } -> std::convertible_to<std::size_t>;
};

/// Asynchronously sends everything that a source has, up to its end, to a stream. The source may have any
/// number of bytes, which need not be known.
///
/// The source is asked for the next bytes when the stream has taken those before. The operation neither
/// finishes nor closes a stream: call basic_async_stream::async_finish() to learn whether everything has
/// arrived. Nothing else may write to the stream meanwhile, nor read from a source that is a stream.
///
/// If the source is a stream that stops at holes (basic_async_stream::stop_at_holes()), the holes are sent as
/// holes if @p to has a member async_write_hole(): it should have been opened on a sparse volume_upload. Any
/// other stream is sent zeros.
///
/// @param to The AsyncWriteStream: an async_stream, a socket, a layer above one. It must remain valid until
/// the completion handler is invoked.
/// @param from The source.
/// @li An AsyncReadStream, which must remain valid until the completion handler is invoked.
/// @li A ConstBufferSequence, which is copied. The memory must remain valid until the completion handler is
/// invoked.
/// @li A function `std::size_t(asio::mutable_buffer)`, which is moved or copied. It puts some bytes into the
/// buffer and returns their number; 0 means that there are no more. It is called from the operation's
/// executor, and should not block.
/// @param options
/// @li transfer_options::offset: the number of bytes that are taken from the source and left out before the
/// others. If the source ends before, nothing is sent, which is no error.
/// @li transfer_options::length: the operation ends after so many bytes.
/// @li transfer_options::sparse: if it is false, holes are sent as zeros.
/// @li transfer_options::bytes_per_second, @ref transfer_options::on_progress "on_progress" and
/// @ref transfer_options::limits "limits". progress::total is known of buffers.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, progress)`. The progress says what the stream has been given, whatever the result.
///
/// @par Errors
/// @li The errors of the stream, and those of a source that is a stream, except asio::error::eof, which means
/// success.
/// @li error::call_threw: the source or on_progress threw an exception that carries no error code.
/// @li asio::error::invalid_argument: the source returned more than the size of the buffer.
///
/// @par Per-operation cancellation
/// Terminal, partial and total, as of the read or the write that is outstanding. Bytes that have been taken
/// from the source and not been sent by then are lost.
///
/// @par Executor
/// The algorithm runs, and calls functions, on a strand of the executor that is associated with the handler
/// if that is an I/O executor, and otherwise of the stream's.
///
/// @code
/// std::ifstream file{"disk.img", std::ios::binary};
/// const auto read = [&file](asio::mutable_buffer buffer) {
///     file.read(static_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
///     return static_cast<std::size_t>(file.gcount());
/// };
/// co_await avirt::async_send_all(stream, read);
/// co_await stream.async_finish();
/// @endcode
template <
    detail::writable_stream AsyncWriteStream, byte_source Source,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, progress))
        Token = detail::default_token_t<typename AsyncWriteStream::executor_type>>
auto async_send_all(AsyncWriteStream& to, Source&& from, transfer_options options = {}, Token&& token = {})
{
    return detail::initiate_with_function<Token, void(error_code, progress)>(
        detail::initiation(to, detail::launch_send_all{std::move(options)}), token,
        detail::kept_end(std::forward<Source>(from)));
}

} // namespace avirt
