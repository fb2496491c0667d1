// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/calling.hpp>
#include <avirt/close_reason.hpp>
#include <avirt/detail/call.hpp>
#include <avirt/detail/config.hpp>
#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/error.hpp>
#include <avirt/handle.hpp>
#include <avirt/open_options.hpp>
#include <avirt/own_connection.hpp>

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

/// A connection to a libvirt daemon or driver: a virConnect that never blocks its execution context.
///
/// Everything that can block runs on worker threads, so the context goes on running while libvirt waits for
/// the daemon.
///
/// Destroying a connection never blocks: outstanding operations complete with operation_aborted, and
/// libvirt's connection is closed on a worker thread. Streams that share libvirt's connection keep it open
/// until they end.
///
/// A moved-from connection is in the same state as a newly constructed one.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Safe. Streams and event sources may be opened on it from any thread. To move, assign
/// to or destroy the object, a thread must have it to itself. As with Asio's own objects, a cancellation
/// signal has to be emitted in the strand in which its operation is started and completes.
///
/// @code
/// avirt::connection conn{io};
/// co_await conn.async_open("test:///default");
/// int domains = co_await conn.async_call(virConnectNumOfDomains);
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_connection
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;
    /// The type of libvirt's connection.
    using native_handle_type = virConnectPtr;

    /// Rebinds the connection type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_connection<E>;
    };

    /// Constructs a connection that is not open.
    ///
    /// @param executor The I/O executor, on which completion handlers run by default.
    explicit basic_connection(const executor_type& executor) : executor_(executor) {}

    /// Constructs a connection that is not open.
    ///
    /// @param context The execution context whose executor is used.
    template <detail::execution_context ExecutionContext>
    explicit basic_connection(ExecutionContext& context) : executor_(context.get_executor())
    {
    }

    /// Constructs a connection from a libvirt connection that was opened elsewhere.
    ///
    /// If it was opened before the event loop was constructed, libvirt does not watch its socket: calls on it
    /// work, but streams, events and async_wait_closed() fail with error::no_event_loop if it leads to a
    /// daemon.
    ///
    /// @param executor The I/O executor, on which completion handlers run by default.
    /// @param adopted The connection. The object takes over the caller's reference.
    basic_connection(const executor_type& executor, virConnectPtr adopted) : executor_(executor)
    {
        impl()->adopt(adopted);
    }

    /// Move-constructs a connection from another.
    basic_connection(basic_connection&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    /// Move-constructs a connection from one of another executor type.
    template <std::convertible_to<Executor> E>
    basic_connection(basic_connection<E>&& other) noexcept
        : executor_(other.executor_),
          impl_(std::move(other.impl_))
    {
    }

    /// Closes the connection, as close() does, and move-assigns another.
    basic_connection& operator=(basic_connection&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Closes the connection, as close() does.
    ~basic_connection()
    {
        close();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Determines whether the connection is open.
    bool is_open() const noexcept
    {
        return impl_ && impl_->native_handle();
    }

    /// Gets libvirt's connection, or null. The object keeps its ownership.
    native_handle_type native_handle() const noexcept
    {
        return impl_ ? impl_->native_handle() : nullptr;
    }

    /// Releases ownership of libvirt's connection.
    ///
    /// Outstanding operations complete with operation_aborted. Calls that have begun run to their end.
    ///
    /// @return libvirt's connection, or null. The caller owns the reference.
    [[nodiscard]] native_handle_type release()
    {
        return impl_ ? impl_->release() : nullptr;
    }

    /// Cancels all outstanding operations, as by a terminal cancellation.
    ///
    /// They complete with operation_aborted. The connection stays open, but if a call has begun on a remote
    /// connection, the connection is lost.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Closes the connection. Never blocks.
    ///
    /// Outstanding operations complete with operation_aborted. Streams that share the connection keep it
    /// open; the thread of a call that has begun is then freed after the last of these streams has ended.
    ///
    /// @par libvirt
    /// virConnectClose, on a worker thread.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Asynchronously opens the connection.
    ///
    /// @param options What to open, and how. Copied as needed.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::no_event_loop: no event_loop exists.
    /// @li error::already_open, error::operation_in_progress: the connection is open, or is being opened.
    /// @li condition::timed_out: the connection could not be opened within open_options::timeout.
    /// @li condition::denied: the answers of the authenticator are wrong, or it refused.
    /// @li error::call_threw: the authenticator threw an exception.
    /// @li condition::connection_lost and libvirt's errors.
    ///
    /// After a failure the object is not open and may be opened again.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. The operation completes at once; a connection that libvirt opens
    /// nevertheless is closed. The thread cannot be freed while it resolves a name, waits for a TCP or TLS
    /// handshake or runs an authenticator: it counts as one of event_loop_options::max_threads until it
    /// returns.
    ///
    /// @par libvirt
    /// virConnectOpenAuth, virConnectSetKeepAlive.
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
        return detail::initiate<&detail::connection_impl::async_open, void(error_code)>(
            *this, token, std::move(options));
    }

    /// Asynchronously opens the connection to a URI.
    ///
    /// @param uri libvirt's connection URI; empty: libvirt's default.
    /// @param token The completion token.
    ///
    /// See async_open(open_options, Token&&).
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_open(std::string uri, Token&& token = {})
    {
        return detail::initiate<&detail::connection_impl::async_open, void(error_code)>(
            *this, token, open_options(std::move(uri)));
    }

    /// Asynchronously closes the connection.
    ///
    /// The operation completes when libvirt has closed the connection, or has dropped this reference if there
    /// are others. Other outstanding operations complete with operation_aborted, except async_wait_closed(),
    /// which succeeds.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open, error::operation_in_progress: the connection is not open, or is being closed.
    /// @li libvirt's errors. The object is not open afterwards all the same.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. The connection is cut off.
    ///
    /// @par libvirt
    /// virConnectClose.
    ///
    /// @code
    /// co_await conn.async_close();
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_close(Token&& token = {})
    {
        return detail::initiate<&detail::connection_impl::async_close, void(error_code)>(*this, token);
    }

    /// Asynchronously calls a function that may block, on a worker thread.
    ///
    /// Calls on one connection run one after the other if libvirt is older than 10.4, and concurrently
    /// otherwise.
    ///
    /// @param f The function, called as `f(virConnectPtr)`. It may be move-only. It has failed if it returns
    /// a negative signed integer, a null pointer or an empty handle, or throws. A function whose result
    /// cannot express failure (void, unsigned) calls avirt::throw_last_error(). Since a cancelled operation
    /// may complete while f is still running, f must own what it uses; it must not capture by reference what
    /// ends with the caller.
    /// @param token The completion token.
    ///
    /// In a coroutine, a closure that holds a std::string, for instance, must be given a name before the
    /// co_await expression, because GCC 12 destroys such a temporary twice. With GCC 12 a temporary does not
    /// compile there. avirt::calling can be used instead. AVIRT_ALLOW_TEMPORARY_CLOSURES turns the check off.
    ///
    /// @par Completion signature
    /// `void(error_code, R)`, or `void(error_code)` if f returns void. R is the owning handle if f returns a
    /// pointer to a libvirt object, a vector of handles if f returns a std::vector of such pointers,
    /// std::string if f returns a `char*` (which is freed), and the type that f returns otherwise. A result
    /// that no operation waits for any more is released. On failure R is value-initialised, but an integer
    /// keeps its value.
    ///
    /// @par Errors
    /// @li error::not_open: the connection is not open. The details say why, if it could not be opened.
    /// @li The code of an avirt::exception or boost::system::system_error that f threw.
    /// @li error::call_threw: f threw any other exception.
    /// @li libvirt's errors.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total until f is called; afterwards partial and terminal. The operation
    /// completes at once.@n Partial cancellation gives up waiting: f runs on, counts as one of
    /// event_loop_options::max_blocking_calls and of event_loop_stats::abandoned_calls until it returns, and
    /// what it returns is released. The connection stays as it is (with libvirt older than 10.4, later calls
    /// wait for f); closing it frees the thread of f.@n Terminal cancellation frees the thread of f: avirt
    /// shuts down the socket of a remote connection, so that f returns and the connection is lost. Without a
    /// socket f runs to its end, on a thread that counts as one of event_loop_options::max_threads.
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
        return initiate_call<&detail::connection_impl::async_call>(token, std::forward<F>(f));
    }

    /// Asynchronously calls a function on a connection that it does not share with other calls, so that a
    /// call that takes long does not hold up others.
    ///
    /// The connection is opened for this call. If f returns nothing, a number, text, or a container of these,
    /// the connection then waits for the next such call, so that over SSH, for instance, not every call
    /// starts a process. Up to four of them wait, for ten seconds each. Of other results avirt cannot tell
    /// whether they refer to the connection, and closes it. So f must not leave anything on the connection
    /// that its result does not show: an object of the connection that it stores elsewhere, or a callback.
    ///
    /// libvirt's drivers inside this process (test:///, qemu:///embed) need no other connection: the function
    /// is called on this connection, concurrently with other calls. On a connection that was opened elsewhere
    /// the function is called as by async_call(F&&, Token&&), because it is not known how to open another
    /// one.
    ///
    /// @param f The function, called as `f(virConnectPtr)`.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// As of async_call(F&&, Token&&).
    ///
    /// @par Errors
    /// Those of async_open() and of async_call(F&&, Token&&).
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total until f is called; afterwards partial and terminal, with the effects that
    /// async_call(F&&, Token&&) describes on the connection of the call. This connection is not affected,
    /// unless it was opened elsewhere.
    ///
    /// @code
    /// co_await conn.async_call(avirt::own_connection, avirt::calling(migrate, "vm1"));
    /// @endcode
    template <
        connection_function F,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(detail::call_signature<std::decay_t<F>>)
            Token = detail::default_token_t<Executor>>
    auto async_call(own_connection_t, F&& f, Token&& token = {})
    {
        return initiate_call<&detail::connection_impl::async_own_call>(token, std::forward<F>(f));
    }

    /// Asynchronously waits for the connection to end.
    ///
    /// The operation succeeds when the daemon, or the way to it, is gone, and when async_close() has closed
    /// the connection. It completes at once if the connection has been lost already. The object stays open
    /// until it is closed, but operations on it fail. Connections of libvirt's drivers inside this process
    /// cannot be lost.
    ///
    /// libvirt has room for a single close callback per connection (virConnectRegisterCloseCallback); avirt
    /// leaves it to the application. If the connection was opened elsewhere, avirt finds its socket by making
    /// a call, and may not find it before the next call if other threads call libvirt at the same time.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, close_reason)`
    ///
    /// @par Errors
    /// @li error::not_open, error::operation_in_progress: the connection is not open, or a wait is
    /// outstanding.
    /// @li error::no_event_loop: libvirt does not watch the connection's socket.
    /// @li operation_aborted: cancel(), close() or release() was called.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total.
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
        return detail::initiate<&detail::connection_impl::async_wait_closed, void(error_code, close_reason)>(
            *this, token);
    }

private:
    template <class>
    friend class basic_connection;
    friend struct detail::access;

    template <auto Member, class Token, class F>
    auto initiate_call(Token& token, F&& f)
    {
        using function = std::decay_t<F>;
        const auto launch = [](basic_connection& self, auto&& handler, error_details* details, auto&& given) {
            using completion = detail::call_completion<std::decay_t<decltype(handler)>, function>;
            const auto call = std::make_shared<detail::call<function>>(std::forward<decltype(given)>(given));
            (*self.impl().*Member)(
                call,
                detail::erase_handler<void(error_code, bool)>(
                    completion(std::forward<decltype(handler)>(handler), call), self.get_executor()),
                details);
        };
        return detail::initiate_with_function<Token, detail::call_signature<function>>(
            detail::initiation(*this, launch), token, std::forward<F>(f));
    }

    const std::shared_ptr<detail::connection_impl>& impl()
    {
        if (!impl_)
            impl_ = detail::connection_impl::make(executor_);
        return impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::connection_impl> impl_;
};

/// A connection whose executor is asio::any_io_executor.
using connection = basic_connection<>;

} // namespace avirt
