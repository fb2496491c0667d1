// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/config.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/stream_impl.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/error.hpp>
#include <avirt/shared_connection.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace avirt {

template <class Executor>
class basic_supervised_connection;

/// A function `int(virConnectPtr, virStreamPtr)` that opens a stream, for basic_async_stream::async_open().
template <class F>
concept stream_opener = requires(std::decay_t<F>& f, virConnectPtr connection, virStreamPtr stream)
{
    {
        f(connection, stream)
        } -> std::convertible_to<int>;
};

/// A libvirt stream as an Asio stream: a guest's console or channel, a screenshot, the content of a volume.
///
/// The class meets the AsyncReadStream and AsyncWriteStream requirements, so asio::async_read, async_write,
/// async_read_until and Beast work with it. One read, one write and one wait of each type may be outstanding
/// at a time; a second one completes with error::operation_in_progress.
///
/// A stream may be destroyed or moved inside its own completion handlers, and with operations outstanding,
/// which complete with operation_aborted. Destroying an open stream aborts it on a worker thread, and never
/// blocks. A moved-from stream is in the same state as a newly constructed one.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe. As with Asio's own objects, cancellation signals have to be emitted in the
/// object's strand. The event_loop may use another context than the stream.
///
/// @code
/// avirt::async_stream console{io};
/// co_await console.async_open(conn, avirt::console{"vm1"});
/// std::string text;
/// co_await asio::async_read_until(console, asio::dynamic_buffer(text), "login: ");
/// co_await console.async_finish();
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_async_stream
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;
    /// The type of libvirt's stream.
    using native_handle_type = virStreamPtr;
    /// The stream is its own lowest layer.
    using lowest_layer_type = basic_async_stream;
    /// What async_wait() waits for: read, write, error.
    using wait_type = detail::stream_wait_type;

    /// Rebinds the stream type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_async_stream<E>;
    };

    /// Constructs a stream that is not open.
    ///
    /// @param executor The I/O executor, on which completion handlers run by default.
    explicit basic_async_stream(const executor_type& executor) : executor_(executor) {}

    /// Constructs a stream that is not open.
    ///
    /// @param context The execution context whose executor is used.
    template <detail::execution_context ExecutionContext>
    explicit basic_async_stream(ExecutionContext& context) : executor_(context.get_executor())
    {
    }

    /// Constructs a stream from a libvirt stream that was opened elsewhere.
    ///
    /// libvirt does not tell to which connection a stream belongs. Therefore each write uses a worker thread,
    /// which a cancellation cannot free, and if the stream leads to a daemon, the loss of the connection is
    /// not noticed: reads wait until the application closes the stream (see
    /// basic_connection::async_wait_closed()). None of this applies to a stream that async_open() opened.
    ///
    /// @param executor The I/O executor, on which completion handlers run by default.
    /// @param adopted The stream, opened with VIR_STREAM_NONBLOCK and without an event callback. The object
    /// takes over the caller's reference.
    ///
    /// @par libvirt
    /// virStreamEventAddCallback.
    basic_async_stream(const executor_type& executor, virStreamPtr adopted) : executor_(executor)
    {
        impl()->adopt(adopted);
    }

    /// Move-constructs a stream from another.
    basic_async_stream(basic_async_stream&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    /// Move-constructs a stream from one of another executor type.
    template <std::convertible_to<Executor> E>
    basic_async_stream(basic_async_stream<E>&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    /// Closes the stream, as close() does, and move-assigns another.
    basic_async_stream& operator=(basic_async_stream&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Closes the stream, as close() does.
    ~basic_async_stream()
    {
        close();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Gets a reference to the lowest layer.
    lowest_layer_type& lowest_layer() noexcept
    {
        return *this;
    }

    /// Gets a const reference to the lowest layer.
    const lowest_layer_type& lowest_layer() const noexcept
    {
        return *this;
    }

    /// Determines whether the stream is open.
    bool is_open() const noexcept
    {
        return impl_ && impl_->native_handle();
    }

    /// Gets libvirt's stream, or null. The object keeps its ownership, and owns the stream's event callback.
    native_handle_type native_handle() const noexcept
    {
        return impl_ ? impl_->native_handle() : nullptr;
    }

    /// Releases ownership of libvirt's stream.
    ///
    /// Outstanding operations complete with operation_aborted. On a connection of the stream's own, avirt may
    /// have read ahead; those bytes are lost unless read_some() is called before until it returns
    /// would_block.
    ///
    /// @return libvirt's stream, or null. The caller owns the reference.
    [[nodiscard]] native_handle_type release()
    {
        return impl_ ? impl_->release() : nullptr;
    }

    /// Cancels all outstanding operations, which complete with operation_aborted. The stream stays open,
    /// unless it was being finished or aborted. If it shares its connection and a worker thread is writing,
    /// the connection is lost, as with a terminal cancellation of that write.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Aborts the stream. Never blocks. Outstanding operations complete with operation_aborted. If the stream
    /// shares its connection, and a worker thread is writing and does not return within a second, the
    /// connection is lost.
    ///
    /// @par libvirt
    /// virStreamEventRemoveCallback, virStreamAbort, virStreamFree, on a worker thread.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Sets whether reads stop at the holes of a sparse stream, such as a volume_download with sparse set.
    ///
    /// May be called at any time, and applies to each stream that the object opens.
    ///
    /// @param stops true: a read that comes to a hole completes with what comes before it, and the next one
    /// with error::at_hole, until async_read_hole() has taken the hole. Drivers inside this process do not
    /// know holes: such reads complete with condition::not_supported, and succeed again after
    /// stop_at_holes(false). false, the default: holes are read as zeros.
    ///
    /// @code
    /// auto [ec, n] = co_await volume.async_read_some(asio::buffer(memory),
    /// asio::as_tuple(asio::use_awaitable)); if (ec == avirt::error::at_hole)
    ///     offset += co_await volume.async_read_hole();
    /// @endcode
    void stop_at_holes(bool stops)
    {
        impl()->stop_at_holes(stops);
    }

    /// Asynchronously opens the stream.
    ///
    /// If avirt opened @p conn and it leads to a daemon, the stream gets a connection of its own. Then
    /// a slow reader holds up nothing else, writes need no thread, and a cancellation costs no other stream
    /// or call its connection.
    ///
    /// @param conn The connection. It must be open when the operation is launched, and may be closed or
    /// destroyed afterwards: a stream that shares libvirt's connection keeps it alive.
    /// @param opener What to open: a console, channel, screenshot, volume_download or volume_upload, or any
    /// callable `int(virConnectPtr, virStreamPtr)`. It is called on a worker thread, and fails by returning a
    /// negative value or by throwing. It must look up its objects through the connection that it is given.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::already_open, error::operation_in_progress: the stream is open, or is being opened or
    /// ended.
    /// @li error::not_open: the connection is not open.
    /// @li error::no_event_loop: no event_loop exists, or libvirt does not watch the connection's socket.
    /// @li error::wrong_connection: the opener used an object of another connection.
    /// @li error::call_threw: the opener threw an exception that carries no error code.
    /// @li The errors of basic_connection::async_open(), and those of the opener.
    ///
    /// After a failure the stream is not open and may be opened again.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. An opener that has begun runs on in the background, for at most a second
    /// if the daemon does not answer; what it opens is aborted. Until then, a console counts as in use.
    ///
    /// @par libvirt
    /// virConnectOpenAuth, virConnectSetKeepAlive, virStreamNew, virStreamEventAddCallback.
    template <
        class E, stream_opener Opener,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(basic_connection<E>& conn, Opener&& opener, Token&& token = {})
    {
        return detail::initiate_with_function<Token, void(error_code)>(
            detail::initiation(*this, launch_open<E>{&conn, false}), token, std::forward<Opener>(opener));
    }

    /// Asynchronously opens the stream on @p conn itself, which other streams and calls use too.
    ///
    /// This is for openers that need objects of that very connection. libvirt then stores everything that
    /// arrives and is not read, without a limit, and each write occupies a worker thread until the daemon has
    /// taken it.
    ///
    /// See async_open(basic_connection<E>&, Opener&&, Token&&).
    template <
        class E, stream_opener Opener,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(basic_connection<E>& conn, shared_connection_t, Opener&& opener, Token&& token = {})
    {
        return detail::initiate_with_function<Token, void(error_code)>(
            detail::initiation(*this, launch_open<E>{&conn, true}), token, std::forward<Opener>(opener));
    }

    /// A stream is opened on the connection of a supervised connection: pass host.connection().
    template <class E, class... Rest>
    void async_open(basic_supervised_connection<E>& host, Rest&&...) = delete; // pass host.connection()

    /// Asynchronously reads some data.
    ///
    /// Holes of a sparse stream are read as zeros, which are generated as they are read, unless
    /// stop_at_holes() was called.
    ///
    /// @param buffers The buffers to read into. They are filled one after the other with what has arrived.
    /// The memory must remain valid until the completion handler is invoked.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, std::size_t)`
    ///
    /// @par Errors
    /// @li asio::error::eof: the end of the stream, reported by each further read as well. The stream can
    /// still be written.
    /// @li error::at_hole: a hole comes next, and stop_at_holes(true) was called. Reading goes on after
    /// async_read_hole().
    /// @li condition::connection_lost, condition::console_taken_over, condition::guest_gone (the guest was
    /// destroyed while it was being written to) and libvirt's errors, after all data that came before has
    /// been read, and by each further read as well. The stream can only be finished, aborted or closed then.
    /// @li error::not_open, error::operation_in_progress: the stream is not open, or a read is outstanding.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No data is lost.
    ///
    /// @par libvirt
    /// virStreamRecv, virStreamRecvFlags, virStreamRecvHole.
    template <
        detail::mutable_buffers MutableBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_read_some(const MutableBufferSequence& buffers, Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::io_result, &detail::stream_impl::try_read, &detail::stream_impl::async_read>(
            *this, token, detail::mutable_buffer_list(buffers));
    }

    /// Asynchronously writes some data.
    ///
    /// Writing to a daemon also receives what the daemon sends: on a connection of its own, the stream does
    /// not write while 4 MiB or more have been received and not been read. If the other side answers what it
    /// gets, the application has to read and write at the same time.
    ///
    /// @param buffers The buffers to write. Small ones are sent in one packet; asio::async_write passes
    /// sixteen at a time. The memory must remain valid until the completion handler is invoked.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, std::size_t)`
    ///
    /// @par Errors
    /// @li condition::connection_lost, condition::guest_gone, asio::error::broken_pipe (the other side of a
    /// stream that is no console is gone) and libvirt's errors: nothing can be written any more. What has
    /// been received can still be read.
    /// @li error::not_open, error::operation_in_progress: the stream is not open, or a write is outstanding.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total until the bytes are handed to libvirt. If that happens on a worker thread,
    /// only terminal afterwards: at the cost of the connection if the stream shares one; if the stream was
    /// constructed from a libvirt stream, the thread remains busy until libvirt returns.
    ///
    /// @par libvirt
    /// virStreamSend.
    template <
        detail::const_buffers ConstBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_write_some(const ConstBufferSequence& buffers, Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::io_result, &detail::stream_impl::try_write, &detail::stream_impl::async_write>(
            *this, token, detail::const_buffer_list(buffers));
    }

    /// Reads some data without waiting.
    ///
    /// @param buffers The buffers to read into. They are filled one after the other with what has arrived.
    /// @param ec Set to asio::error::would_block if it is not known that there is something to read: call
    /// async_wait() with wait_type::read then. Otherwise to the errors of async_read_some().
    ///
    /// @return The number of bytes read.
    template <detail::mutable_buffers MutableBufferSequence>
    std::size_t read_some(const MutableBufferSequence& buffers, error_code& ec)
    {
        detail::io_result result;
        if (!impl()->try_read(detail::mutable_buffer_list(buffers), result))
            result.ending = error_code(asio::error::would_block);
        ec = result.ending.code;
        return result.bytes;
    }

    /// Writes some data without waiting.
    ///
    /// @param buffers The buffers to write. Small ones are sent in one packet.
    /// @param ec Set to asio::error::would_block if nothing can be written at once, and to
    /// asio::error::operation_not_supported if each write needs a worker thread (streams of a daemon that
    /// share a connection or were constructed from a libvirt stream): use async_write_some(). Otherwise set
    /// to the errors of async_write_some().
    ///
    /// @return The number of bytes written.
    template <detail::const_buffers ConstBufferSequence>
    std::size_t write_some(const ConstBufferSequence& buffers, error_code& ec)
    {
        detail::io_result result;
        if (!impl()->try_write(detail::const_buffer_list(buffers), result))
            result.ending = error_code(
                impl()->sends_on_worker() ? asio::error::operation_not_supported : asio::error::would_block);
        ec = result.ending.code;
        return result.bytes;
    }

    /// Asynchronously reads a hole of a sparse stream.
    ///
    /// Of a hole that reads have begun to read as zeros, it reads the rest. It counts as a read: only one can
    /// be outstanding.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, std::uint64_t)`. The length of the hole in bytes; 0 if data comes next.
    ///
    /// @par Errors
    /// @li asio::error::eof: the end of the stream.
    /// @li condition::not_supported: the driver is in this process, and does not know holes.
    /// @li The other errors of async_read_some(), except error::at_hole.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No hole is lost.
    ///
    /// @par libvirt
    /// virStreamRecvFlags, virStreamRecvHole.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::uint64_t))
            Token = detail::default_token_t<Executor>>
    auto async_read_hole(Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::hole_result, &detail::stream_impl::try_read_hole, &detail::stream_impl::async_read_hole>(
            *this, token);
    }

    /// Asynchronously writes a hole to a sparse stream, such as a volume_upload with sparse set.
    ///
    /// The operation never waits. A daemon is told of the hole together with what follows it: the next write,
    /// or async_finish(). So several holes in a row are one, and a hole that is written last is lost if the
    /// stream is released. libvirt does not erase what is in the place of the hole: it keeps the old data, so
    /// a hole is only right in a volume that has just been created. Elsewhere, write zeros.
    ///
    /// @param length The length of the hole in bytes; 0: none.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li asio::error::invalid_argument: the hole is longer than libvirt can say.
    /// @li condition::not_supported: the driver is in this process, and does not know holes.
    /// @li error::operation_in_progress: a write is outstanding.
    /// @li The other errors of async_write_some(). If the daemon refuses the hole, the next write or
    /// async_finish() reports it.
    ///
    /// @par Per-operation cancellation
    /// None: the operation completes at once.
    ///
    /// @par libvirt
    /// virStreamSendHole.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_write_hole(std::uint64_t length, Token&& token = {})
    {
        const auto launch = [](basic_async_stream& self, auto&& handler, error_details* details,
                               std::uint64_t hole) {
            detail::wait_result result;
            if (self.impl()->try_write_hole(hole, result))
                detail::complete_attempt(self, std::forward<decltype(handler)>(handler), details, result);
        };
        return asio::async_initiate<Token, void(error_code)>(
            detail::initiation(*this, launch), token, length);
    }

    /// Asynchronously waits until the stream is ready to be read or written, or has failed.
    ///
    /// @param type wait_type::read: there is something to read, an error or the end included.
    /// wait_type::write: something can be written. wait_type::error: libvirt has reported an error, a hang-up
    /// or the end, or the connection is lost. An error or the end that a daemon sends, and the takeover of a
    /// console, may be noticed only when a read comes to it.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open, error::operation_in_progress: the stream is not open, or a wait of the same type
    /// is outstanding.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total.
    ///
    /// @par libvirt
    /// virStreamEventUpdateCallback.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_wait(wait_type type, Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::wait_result, &detail::stream_impl::try_wait, &detail::stream_impl::async_wait>(
            *this, token, type);
    }

    /// Asynchronously finishes the stream: on success the daemon has received everything that was written.
    ///
    /// The operation waits until a guest has taken everything that was written to its console, which it may
    /// never do. libvirt does not always report whether the data was stored: if the disk becomes full at the
    /// very end, the failure of the last packets may go unreported. Finishing the console of a guest that is
    /// gone may fail with condition::guest_gone; after a read has reported asio::error::eof, close() loses
    /// nothing. Outstanding reads and waits complete with
    /// operation_aborted.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the stream is not open.
    /// @li error::operation_in_progress: a write, a finish or an abort is outstanding. The stream stays open.
    /// @li error::result_unknown: the connection was lost meanwhile, and libvirt gave no other reason.
    /// @li libvirt's errors, such as condition::no_space of an upload that was refused.
    ///
    /// Except after the first two, the stream is not open afterwards, whatever the result.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. A connection of the stream's own is cut off.
    ///
    /// @par libvirt
    /// virStreamFinish, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_finish(Token&& token = {})
    {
        return detail::initiate<&detail::stream_impl::async_finish, void(error_code)>(*this, token);
    }

    /// Asynchronously aborts the stream, regardless of what is under way.
    ///
    /// Outstanding reads, writes and waits complete with operation_aborted. On a connection of the stream's
    /// own, the abort waits neither for a guest that does not take its input nor for a daemon that does not
    /// answer: the connection is cut off after a second. On a shared connection it waits, as async_finish()
    /// does; but if a worker thread is writing and does not return within a second, the connection is lost.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the stream is not open.
    /// @li error::operation_in_progress: a finish or an abort is outstanding.
    /// @li libvirt's errors.
    ///
    /// Except after the first two, the stream is not open afterwards, whatever the result.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. A connection of the stream's own is cut off.
    ///
    /// @par libvirt
    /// virStreamAbort, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_abort(Token&& token = {})
    {
        return detail::initiate<&detail::stream_impl::async_abort, void(error_code)>(*this, token);
    }

private:
    template <class>
    friend class basic_async_stream;
    friend struct detail::access;

    template <class E>
    struct launch_open
    {
        basic_connection<E>* connection;
        bool shares_connection;

        template <class Handler, class Opener>
        void operator()(
            basic_async_stream& self, Handler&& handler, error_details* details, Opener&& opener) const
        {
            self.impl()->async_open(
                *detail::implementation_of(*connection), shares_connection,
                std::make_shared<detail::opener<std::decay_t<Opener>>>(std::forward<Opener>(opener)),
                detail::erase_handler<void(error_code)>(std::forward<Handler>(handler), self.get_executor()),
                details);
        }
    };

    const std::shared_ptr<detail::stream_impl>& impl()
    {
        if (!impl_)
            impl_ = detail::stream_impl::make(executor_);
        return impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::stream_impl> impl_;
};

/// A stream whose executor is asio::any_io_executor.
using async_stream = basic_async_stream<>;

} // namespace avirt
