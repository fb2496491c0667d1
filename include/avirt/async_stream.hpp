// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/config.hpp>
#include <avirt/detail/stream_impl.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt {

template <class Executor>
class basic_supervised_connection;

/// A function `int(virConnectPtr, virStreamPtr)` that starts a stream, for basic_async_stream::async_open().
template <class F>
concept stream_opener = requires(std::decay_t<F>& f, virConnectPtr connection, virStreamPtr stream)
{
    {
        f(connection, stream)
        } -> std::convertible_to<int>;
};

/// Makes a stream use the given connection instead of one of its own.
struct shared_connection_t
{
};

inline constexpr shared_connection_t shared_connection{};

/// A virStream as an Asio stream: a guest's console, a screenshot.
///
/// It meets the AsyncReadStream and AsyncWriteStream requirements, so that asio::async_read, async_write,
/// async_read_until and Beast work with it. One read, one write and one wait of each type may be outstanding
/// at a time; a second completes with error::operation_in_progress.
///
/// It may be destroyed or moved from inside its own handlers, and with operations outstanding, which
/// complete with operation_aborted. Destroying an open stream aborts it, elsewhere, without blocking. A
/// moved-from stream is as one newly made.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe. Cancellation signals as Asio has it: from
/// the object's own strand. The event_loop may run on another context than the stream.
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
    using executor_type = Executor;
    using native_handle_type = virStreamPtr;
    using lowest_layer_type = basic_async_stream;

    /// What to wait for; see async_wait().
    using wait_type = detail::stream_wait_type;

    template <class E>
    struct rebind_executor
    {
        using other = basic_async_stream<E>;
    };

    /// A stream whose completion handlers run on @p executor by default. Not open.
    explicit basic_async_stream(const executor_type& executor) : executor_(executor) {}

    template <detail::execution_context ExecutionContext>
    explicit basic_async_stream(ExecutionContext& context) : executor_(context.get_executor())
    {
    }

    /// Takes over the reference to a stream that was opened elsewhere, with VIR_STREAM_NONBLOCK and without
    /// an event callback.
    ///
    /// libvirt does not tell which connection it belongs to. So a write takes a worker thread, which a
    /// cancellation leaves behind without freeing it, and with a daemon the loss of the connection is not
    /// noticed: reads wait for ever, unless the connection is watched elsewhere (async_wait_closed()). A
    /// stream that async_open() opens has none of this.
    ///
    /// libvirt: virStreamEventAddCallback.
    basic_async_stream(const executor_type& executor, virStreamPtr adopted) : executor_(executor)
    {
        impl().adopt(adopted);
    }

    basic_async_stream(basic_async_stream&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    template <std::convertible_to<Executor> E>
    basic_async_stream(basic_async_stream<E>&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    basic_async_stream& operator=(basic_async_stream&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    ~basic_async_stream()
    {
        close();
    }

    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    lowest_layer_type& lowest_layer() noexcept
    {
        return *this;
    }

    const lowest_layer_type& lowest_layer() const noexcept
    {
        return *this;
    }

    bool is_open() const noexcept
    {
        return impl_ && impl_->native_handle();
    }

    /// libvirt's stream, or null. Still owned by this object, which owns its event callback too.
    native_handle_type native_handle() const noexcept
    {
        return impl_ ? impl_->native_handle() : nullptr;
    }

    /// Gives libvirt's stream, as it is, to the caller. Outstanding operations complete with
    /// operation_aborted. On a connection of the stream's own avirt may have read ahead, and that is lost:
    /// call read_some() until it would block before.
    [[nodiscard]] native_handle_type release()
    {
        return impl_ ? impl_->release() : nullptr;
    }

    /// Outstanding operations complete with operation_aborted; the stream stays open, unless one of them was
    /// finishing or aborting it.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Aborts the stream. Never blocks; outstanding operations complete with operation_aborted.
    ///
    /// libvirt: virStreamEventRemoveCallback, virStreamAbort, virStreamFree.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Opens the stream, on a connection of its own where @p conn was opened by avirt and leads to a daemon:
    /// then a slow reader holds up nothing else, a write never waits for a thread, and cancelling costs
    /// nobody else a connection.
    ///
    /// @param conn Where; it must be open when the operation is launched, and may be closed afterwards: a
    /// stream that shares libvirt's connection keeps it alive.
    /// @param opener On what: console, channel, screenshot, volume_download, volume_upload, or any callable
    /// `int(virConnectPtr, virStreamPtr)`, called on a worker thread, which fails by a negative result or by
    /// throwing. It has to look its objects up through the connection that it is given.
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::already_open, error::operation_in_progress, error::not_open (the connection is not),
    /// error::no_event_loop, error::wrong_connection, what opening a connection fails with
    /// (condition::denied, condition::connection_lost, ...), and the opener's, error::call_threw for an
    /// exception that carries no code. After a failure the object is not open, and may be opened again.
    /// Cancellation: terminal, partial and total; what is opened nevertheless is aborted.
    ///
    /// libvirt: virConnectOpenAuth, virConnectSetKeepAlive, virStreamNew, virStreamEventAddCallback.
    template <
        class E, stream_opener Opener,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(basic_connection<E>& conn, Opener&& opener, Token&& token = {})
    {
        return detail::initiate_with_function<Token, void(error_code)>(
            initiate_open<E>{{this}, &conn, false}, token, std::forward<Opener>(opener));
    }

    /// The same on @p conn itself, which other streams and calls use too: for openers that need objects of
    /// that very connection. libvirt then keeps whatever arrives and is not read, without a bound, and each
    /// write takes a worker thread until the daemon has taken it.
    template <
        class E, stream_opener Opener,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(basic_connection<E>& conn, shared_connection_t, Opener&& opener, Token&& token = {})
    {
        return detail::initiate_with_function<Token, void(error_code)>(
            initiate_open<E>{{this}, &conn, true}, token, std::forward<Opener>(opener));
    }

    /// A supervised connection has the connection that a stream is opened on: pass host.connection().
    template <class E, class... Rest>
    void async_open(basic_supervised_connection<E>& host, Rest&&...) = delete; // pass host.connection()

    /// Reads what is there, and waits where nothing is.
    ///
    /// @param buffers Where to; the memory must stay valid until the handler is invoked. Only the first
    /// buffer that is not empty is filled.
    /// @param token Completion signature: `void(error_code, std::size_t)`.
    ///
    /// Errors: asio::error::eof at the end of the stream, once and again: it can still be written then;
    /// condition::connection_lost, condition::console_taken_over, condition::guest_gone (it was destroyed
    /// while it was written to) and libvirt's, after all that came before has been read, once and again: what
    /// remains is async_finish(), async_abort() or close(); error::not_open, error::operation_in_progress.
    /// Cancellation: terminal, partial and total; nothing is lost.
    ///
    /// The holes of a sparse stream are read as zeros, which are made as they are read.
    ///
    /// libvirt: virStreamRecv, virStreamRecvFlags, virStreamRecvHole.
    template <
        detail::mutable_buffers MutableBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_read_some(const MutableBufferSequence& buffers, Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code, std::size_t)>(
            initiate_read{{this}}, token, detail::first_buffer<asio::mutable_buffer>(buffers));
    }

    /// Writes as much as can be written without blocking, and waits where nothing can. Writing to a daemon
    /// also receives: on a connection of the stream's own a write waits while 4 MiB or more have come that
    /// were not read. So write and read at the same time, if the other side answers what it gets.
    ///
    /// @param buffers What; the memory must stay valid until the handler is invoked. Only the first buffer
    /// that is not empty is written.
    /// @param token Completion signature: `void(error_code, std::size_t)`.
    ///
    /// Errors: condition::connection_lost, condition::guest_gone and asio::error::broken_pipe (the guest is
    /// gone) and libvirt's: nothing can be written any more, what has come can still be read;
    /// error::not_open, error::operation_in_progress.
    /// Cancellation: terminal, partial and total until the bytes are handed to libvirt; where that happens on
    /// a worker thread, terminal afterwards: at the connection's cost where the stream shares one, leaving
    /// the thread behind where it was adopted.
    ///
    /// libvirt: virStreamSend.
    template <
        detail::const_buffers ConstBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_write_some(const ConstBufferSequence& buffers, Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code, std::size_t)>(
            initiate_write{{this}}, token, detail::first_buffer<asio::const_buffer>(buffers));
    }

    /// Reads what is there, without waiting.
    ///
    /// An attempt: @p ec is asio::error::would_block where it is not known that there is something;
    /// async_wait for wait_type::read then.
    template <detail::mutable_buffers MutableBufferSequence>
    std::size_t read_some(const MutableBufferSequence& buffers, error_code& ec)
    {
        detail::io_result result;
        if (!impl().try_read(detail::first_buffer<asio::mutable_buffer>(buffers), result))
            result.ending = error_code(asio::error::would_block);
        ec = result.ending.code;
        return result.bytes;
    }

    /// Writes what can be written without waiting.
    ///
    /// An attempt: @p ec is asio::error::would_block where nothing can be written at once, and
    /// asio::error::operation_not_supported where each write takes a worker thread (shared and adopted
    /// streams of a daemon): async_write_some() does that.
    template <detail::const_buffers ConstBufferSequence>
    std::size_t write_some(const ConstBufferSequence& buffers, error_code& ec)
    {
        detail::io_result result;
        if (!impl().try_write(detail::first_buffer<asio::const_buffer>(buffers), result))
            result.ending = error_code(
                impl().sends_on_worker() ? asio::error::operation_not_supported : asio::error::would_block);
        ec = result.ending.code;
        return result.bytes;
    }

    /// Waits until a read or a write is worth an attempt, or until the stream has failed.
    ///
    /// @param type wait_type::read: there is something to read, eof and errors included; write: something can
    /// be written; error: libvirt reported an error, a hang-up or the end, or the connection is lost.
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::not_open, error::operation_in_progress.
    /// Cancellation: terminal, partial and total.
    ///
    /// libvirt: virStreamEventUpdateCallback.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_wait(wait_type type, Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_wait{{this}}, token, type);
    }

    /// Ends the stream properly: the daemon has got all that was written when it completes with success. It
    /// waits until a guest has taken all that was written to its console: for ever, if the guest never does.
    /// Whether it could do with it what was asked libvirt does not always tell: where the disk is full just
    /// then, the last packets' failure may go unreported. The end of a console whose guest has gone fails
    /// with EIO behind a daemon.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Outstanding reads and waits complete with operation_aborted. Errors: error::not_open,
    /// error::operation_in_progress (a write or another finish is outstanding: the stream stays as it is),
    /// error::result_unknown (the connection was lost meanwhile, and libvirt gave no other reason), and
    /// libvirt's: condition::no_space of a refused upload, for instance. Otherwise the object is not
    /// open afterwards, whatever the result. Cancellation: terminal, partial and total; a connection of the
    /// stream's own is cut off then.
    ///
    /// libvirt: virStreamFinish, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_finish(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(
            initiate_end{{this}, &detail::stream_impl::async_finish}, token);
    }

    /// Ends the stream without regard to what is under way. Outstanding reads, writes and waits complete with
    /// operation_aborted. On a connection of the stream's own it does not wait for a guest that has not taken
    /// what was written to it, nor for a daemon that does not answer: after a second the connection is cut
    /// off. On a shared connection it waits, as async_finish() does.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::not_open, error::operation_in_progress (a finish or another abort is outstanding), and
    /// libvirt's. State afterwards and cancellation as async_finish.
    ///
    /// libvirt: virStreamAbort, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_abort(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(
            initiate_end{{this}, &detail::stream_impl::async_abort}, token);
    }

private:
    template <class>
    friend class basic_async_stream;

    struct initiation
    {
        basic_async_stream* self;
        using executor_type = Executor;

        executor_type get_executor() const noexcept
        {
            return self->get_executor();
        }

        template <class Handler>
        void complete(Handler&& handler, error_details* details, detail::io_result& result) const
        {
            if (result.ending && details)
                *details = std::move(result.ending.details);
            detail::complete_immediately(
                std::forward<Handler>(handler), self->get_executor(), result.ending.code, result.bytes);
        }
    };

    template <class E>
    struct initiate_open : initiation
    {
        basic_connection<E>* conn;
        bool shares_connection;

        template <class Handler, class Opener>
        void operator()(Handler&& handler, Opener&& opener) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl().async_open(
                *detail::implementation_of(*conn), shares_connection,
                std::make_shared<detail::opener<std::decay_t<Opener>>>(std::forward<Opener>(opener)),
                detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_read : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler, asio::mutable_buffer buffer) const
        {
            auto* details = detail::get_associated_details(handler);
            detail::io_result result;
            if (this->self->impl().try_read(buffer, result))
                this->complete(std::forward<Handler>(handler), details, result);
            else
                this->self->impl().async_read(
                    buffer, detail::io_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_write : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler, asio::const_buffer buffer) const
        {
            auto* details = detail::get_associated_details(handler);
            detail::io_result result;
            if (this->self->impl().try_write(buffer, result))
                this->complete(std::forward<Handler>(handler), details, result);
            else
                this->self->impl().async_write(
                    buffer, detail::io_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_wait : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler, wait_type type) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl().async_wait(
                type, detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_end : initiation
    {
        void (detail::stream_impl::*end)(detail::wait_handler, error_details*);

        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            (this->self->impl().*end)(detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    detail::stream_impl& impl()
    {
        if (!impl_)
            impl_ = detail::stream_impl::make(executor_);
        return *impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::stream_impl> impl_;
};

using async_stream = basic_async_stream<>;

} // namespace avirt
