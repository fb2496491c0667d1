// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/calling.hpp>
#include <avirt/detail/call.hpp>
#include <avirt/detail/config.hpp>
#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/error.hpp>
#include <avirt/handle.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace avirt {

/// A function `f(virConnectPtr)`, for basic_connection::async_call().
template <class F>
concept connection_function = requires(std::decay_t<F>& f, virConnectPtr connection)
{
    std::invoke(f, connection);
};

template <class Executor = asio::any_io_executor>
class basic_connection;

namespace detail {

/// For what is built on a connection.
template <class Executor>
const std::shared_ptr<connection_impl>& implementation_of(basic_connection<Executor>& connection)
{
    return connection.shared_impl();
}

} // namespace detail

/// A virConnect, used without blocking.
///
/// Whatever can block runs on worker threads: the context goes on while libvirt waits for its daemon.
///
/// Destroying a connection, or close(), never blocks: operations that are outstanding complete with
/// operation_aborted, and libvirt's connection is closed elsewhere. Streams that were opened on it keep
/// libvirt's connection alive until they end.
///
/// A moved-from connection is as one newly made.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe. Cancellation signals as Asio has it: from
/// the object's own strand.
///
/// @code
/// avirt::connection conn{io};
/// co_await conn.async_open("test:///default");
/// int domains = co_await conn.async_call(virConnectNumOfDomains);
/// @endcode
template <class Executor>
class basic_connection
{
public:
    using executor_type = Executor;
    using native_handle_type = virConnectPtr;

    template <class E>
    struct rebind_executor
    {
        using other = basic_connection<E>;
    };

    /// A connection whose completion handlers run on @p executor by default. Not open.
    explicit basic_connection(const executor_type& executor) : executor_(executor) {}

    template <detail::execution_context ExecutionContext>
    explicit basic_connection(ExecutionContext& context) : executor_(context.get_executor())
    {
    }

    /// Takes over the reference to a connection that was opened elsewhere. One that was opened before the
    /// event loop was made is watched by none, for the rest of its life: calls work on it; streams, events
    /// and async_wait_closed() fail with error::no_event_loop, if it leads to a daemon.
    basic_connection(const executor_type& executor, virConnectPtr adopted) : executor_(executor)
    {
        impl().adopt(adopted);
    }

    basic_connection(basic_connection&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    template <std::convertible_to<Executor> E>
    basic_connection(basic_connection<E>&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    basic_connection& operator=(basic_connection&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    ~basic_connection()
    {
        close();
    }

    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    bool is_open() const noexcept
    {
        return impl_ && impl_->native_handle();
    }

    /// libvirt's connection, or null. Still owned by this object.
    native_handle_type native_handle() const noexcept
    {
        return impl_ ? impl_->native_handle() : nullptr;
    }

    /// Gives libvirt's connection to the caller. Outstanding operations complete with operation_aborted; a
    /// call that has begun goes on without anybody waiting for it.
    [[nodiscard]] native_handle_type release()
    {
        return impl_ ? impl_->release() : nullptr;
    }

    /// Outstanding operations complete with operation_aborted, as by a terminal cancellation: the connection
    /// stays open, but where a call has begun on a remote one that costs the connection.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Closes the connection. Never blocks. Streams that share the connection keep it open: a call that has
    /// begun on it is freed after the last of them has ended.
    ///
    /// libvirt: virConnectClose, on a worker thread.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Opens a connection.
    ///
    /// @param options What to open; an empty URI means libvirt's default.
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::no_event_loop, error::already_open, error::operation_in_progress, and libvirt's. After
    /// a failure the object is not open, and may be opened again: condition::denied where the
    /// authenticator's answers are wrong or it refuses, error::call_threw where it throws.
    /// Cancellation: terminal, partial and total, and it completes at once; what libvirt opens nevertheless
    /// is closed. (A thread that waits for a name, TCP's or TLS's handshake or an authenticator cannot be
    /// freed: it ends by itself some time, and counts against nothing until then.)
    ///
    /// libvirt: virConnectOpenAuth, virConnectSetKeepAlive.
    ///
    /// @code
    /// avirt::open_options options{"qemu+tcp://host/system"};
    /// options.authenticate = [](std::span<avirt::credential> asked) {
    ///     for (auto& c : asked)
    ///         c.result = c.type == VIR_CRED_AUTHNAME ? "me" : ask_for(c.prompt);
    ///     return true;
    /// };
    /// co_await conn.async_open(options);
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(open_options options, Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_open{this}, token, std::move(options));
    }

    /// Opens a connection to @p uri.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(std::string uri, Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(
            initiate_open{this}, token, open_options(std::move(uri)));
    }

    /// Closes the connection, and completes when libvirt has closed it, or dropped this reference where
    /// others are left.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Other operations complete with operation_aborted, but for async_wait_closed(), which has got what it
    /// waited for. Errors: error::not_open, error::operation_in_progress. The object is not open afterwards,
    /// whatever the result. Cancellation: terminal, partial and total; the connection is cut off then.
    ///
    /// libvirt: virConnectClose.
    ///
    /// @code
    /// co_await conn.async_close();
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_close(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_close{this}, token);
    }

    /// Calls @p f, which may block, on a worker thread.
    ///
    /// @param f Called as `f(virConnectPtr)`; it may be move-only. It failed if it returned a negative signed
    /// integer, a null pointer or an empty handle, or threw. A function whose result cannot tell (void,
    /// unsigned) calls avirt::throw_last_error().
    /// @param token Completion signature: `void(error_code, R)`, or `void(error_code)` if f returns void. R
    /// is the owning handle if f returns a pointer to one of libvirt's objects, std::string if it returns a
    /// `char*` (which is freed), and what f returns otherwise: a result that is not waited for any more is
    /// released. On failure R is value-initialised; an integer keeps its value.
    ///
    /// Errors: error::not_open, libvirt's, those that f threw (avirt::exception and system_error pass their
    /// code on), error::call_threw for any other exception.
    /// Cancellation: terminal, partial and total until the call has begun; partial and terminal afterwards,
    /// and it completes at once. Partial gives up waiting: f goes on, until the connection is closed.
    /// Terminal frees f's thread: the socket of a remote connection is shut down, so that f returns and the
    /// connection is lost; elsewhere f runs to its end on a thread that counts against nothing.
    /// Calls on one connection run one after the other if libvirt is older than 10.4, at the same time
    /// otherwise.
    ///
    /// Once cancelled, the operation may complete while f is still running: f must own what it uses, and
    /// capture nothing by reference that ends with the caller.
    ///
    /// In a coroutine, a closure that holds a std::string, say, needs a name of its own before the co_await
    /// expression, because GCC 12 destroys a temporary one twice; there, a temporary does not compile.
    /// avirt::calling takes its place. (Those who know better define AVIRT_ALLOW_TEMPORARY_CLOSURES.)
    ///
    /// @code
    /// avirt::domain vm = co_await conn.async_call(avirt::calling(virDomainLookupByName, name));
    /// @endcode
    template <
        connection_function F,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(detail::call_signature<std::decay_t<F>>)
            Token = detail::default_token_t<Executor>>
    auto async_call(F&& f, Token&& token = {})
    {
        return detail::initiate_with_function<Token, detail::call_signature<std::decay_t<F>>>(
            initiate_call<&detail::connection_impl::async_call>{this}, token, std::forward<F>(f));
    }

    /// The same on a connection that is opened for it, as this one was, and closed after it: a call that
    /// takes long holds up nobody.
    ///
    /// libvirt's drivers inside this process (test:///, qemu:///embed) need no other connection: there the
    /// call is made on this connection, beside the others. On a connection that was opened elsewhere it is
    /// made as by the other async_call(), because how to open another is not known.
    ///
    /// Errors: also what opening a connection fails with. Cancellation: terminal, partial and total until f
    /// begins, partial and terminal afterwards, as by the other async_call(), at the cost of its own
    /// connection; of this one only if that was opened elsewhere.
    ///
    /// @code
    /// // A migration, say.
    /// co_await conn.async_call(avirt::own_connection, avirt::calling(move_away, "vm1"));
    /// @endcode
    template <
        connection_function F,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(detail::call_signature<std::decay_t<F>>)
            Token = detail::default_token_t<Executor>>
    auto async_call(own_connection_t, F&& f, Token&& token = {})
    {
        return detail::initiate_with_function<Token, detail::call_signature<std::decay_t<F>>>(
            initiate_call<&detail::connection_impl::async_own_call>{this}, token, std::forward<F>(f));
    }

    /// Waits for the end of the connection.
    ///
    /// @param token Completion signature: `void(error_code, close_reason)`.
    ///
    /// Succeeds when the daemon or the way to it is gone, at once where it is already, and when this side has
    /// closed it (async_close()). The object stays open until it is closed; what is called on it fails. In
    /// libvirt's drivers inside this process there is nothing to be lost.
    ///
    /// libvirt has one place a connection for a function that is told of its end
    /// (virConnectRegisterCloseCallback): that stays the application's. Of a connection that was opened
    /// elsewhere the socket is looked for while a call is made; where another thread makes calls at the same
    /// time it may not be found before the next call.
    ///
    /// Errors: error::not_open, error::operation_in_progress; operation_aborted after cancel(), close() and
    /// release(). Cancellation: terminal, partial and total.
    ///
    /// @code
    /// const auto why = co_await conn.async_wait_closed();
    /// if (why == avirt::close_reason::keepalive)
    ///     std::cerr << "the daemon does not answer\n";
    /// @endcode
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, close_reason))
            Token = detail::default_token_t<Executor>>
    auto async_wait_closed(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code, close_reason)>(initiate_wait_closed{this}, token);
    }

private:
    template <class>
    friend class basic_connection;
    template <class E>
    friend const std::shared_ptr<detail::connection_impl>& detail::implementation_of(basic_connection<E>&);

    struct initiation
    {
        basic_connection* self;
        using executor_type = Executor;

        executor_type get_executor() const noexcept
        {
            return self->get_executor();
        }
    };

    struct initiate_open : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler, open_options options) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl().async_open(
                std::move(options), detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_close : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl().async_close(detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    using launch_call = void (detail::connection_impl::*)(
        std::shared_ptr<detail::call_base>, detail::call_handler, error_details*);

    template <launch_call Launch>
    struct initiate_call : initiation
    {
        template <class Handler, class F>
        void operator()(Handler&& handler, F&& f) const
        {
            auto* details = detail::get_associated_details(handler);
            auto call = std::make_shared<detail::call<std::decay_t<F>>>(std::forward<F>(f));
            (this->self->impl().*Launch)(
                call,
                detail::call_handler(detail::call_completion<std::decay_t<Handler>, std::decay_t<F>>{
                    std::forward<Handler>(handler), call}),
                details);
        }
    };

    struct initiate_wait_closed : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl().async_wait_closed(
                detail::closed_handler(std::forward<Handler>(handler)), details);
        }
    };

    detail::connection_impl& impl()
    {
        return *shared_impl();
    }

    const std::shared_ptr<detail::connection_impl>& shared_impl()
    {
        if (!impl_)
            impl_ = detail::connection_impl::make(executor_);
        return impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::connection_impl> impl_;
};

using connection = basic_connection<>;

} // namespace avirt
