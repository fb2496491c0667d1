// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/supervisor_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/event_source.hpp>
#include <avirt/host_report.hpp>
#include <avirt/supervision_options.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <utility>

namespace avirt {

/// A connection that is opened again whenever it is lost, and that reports what happens to its domains.
///
/// The reports of async_receive() are ordered and complete: host_connected replaces everything that was known
/// before, and each domain_changed that follows leads from one state to the next. What happens while the
/// connection is lost is contained in the next host_connected. While the daemon is away, avirt tries to
/// open the connection from time to time.
///
/// Supervision begins with the first operation on the object or on a host_feed of it, and ends with close()
/// or the destruction of the object; until then it keeps the context running. Destroying the object never
/// blocks. A moved-from object can only be assigned to or destroyed.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Safe for async_receive(), follow(), retry_now(), cancel() and close(), for the
/// construction of feeds, and for the operations on connection(). To move, assign to or destroy the object, a
/// thread must have it to itself.
///
/// @par libvirt
/// virConnectOpenAuth, virConnectDomainEventRegisterAny, virConnectListAllDomains,
/// virConnectGetAllDomainStats, virDomainGetState.
///
/// @code
/// avirt::supervision_options options;
/// options.open.uri = "qemu:///system";
/// avirt::supervised_connection host{io, options};
/// for (;;) {
///     auto report = co_await host.async_receive();
///     if (auto* connected = std::get_if<avirt::host_connected>(&report))
///         std::cout << connected->domains.size() << " domains\n";
/// }
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_supervised_connection
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;
    /// The type of the supervised connection.
    using connection_type = basic_connection<Executor>;

    /// Rebinds the type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_supervised_connection<E>;
    };

    /// Constructs a supervised connection.
    ///
    /// @param executor The I/O executor, on which completion handlers run by default.
    /// @param options What to open, and how often to try.
    explicit basic_supervised_connection(const executor_type& executor, supervision_options options = {})
        : connection_(executor),
          impl_(detail::supervisor_impl::make(
              executor, detail::implementation_of(connection_), std::move(options)))
    {
    }

    /// Constructs a supervised connection.
    ///
    /// @param context The execution context whose executor is used.
    /// @param options What to open, and how often to try.
    template <detail::execution_context ExecutionContext>
    explicit basic_supervised_connection(ExecutionContext& context, supervision_options options = {})
        : basic_supervised_connection(executor_type(context.get_executor()), std::move(options))
    {
    }

    /// Move-constructs a supervised connection from another.
    basic_supervised_connection(basic_supervised_connection&&) noexcept = default;

    /// Ends the supervision, as close() does, and move-assigns another supervised connection.
    basic_supervised_connection& operator=(basic_supervised_connection&& other) noexcept
    {
        if (this != &other) {
            close();
            connection_ = std::move(other.connection_);
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Ends the supervision, as close() does.
    ~basic_supervised_connection()
    {
        close();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return connection_.get_executor();
    }

    /// Gets the connection, for calls, streams and event sources.
    ///
    /// It is not open while the daemon is away: operations on it fail with error::not_open then. The
    /// application must not open or close it, nor cancel all its operations. If the driver does not support
    /// lifecycle events, the supervision uses the connection's async_wait_closed().
    connection_type& connection() noexcept
    {
        return connection_;
    }

    /// Subscribes an event source each time the connection has been opened, before host_connected is
    /// reported.
    ///
    /// Receiving from the source completes with condition::connection_lost once for each loss of the
    /// connection, and with condition::not_supported once for each subscription to events that the daemon
    /// does not know; it then waits for the next event. The source is followed until it is unsubscribed or
    /// destroyed.
    ///
    /// @param source A source made with connection(). It may be moved or destroyed at any time.
    template <class Event, class E>
    void follow(basic_event_source<Event, E>& source)
    {
        impl_->follow(detail::implementation_of(source));
    }

    /// Ends the delay before the next attempt to open the connection, if there is one.
    ///
    /// @code
    /// // The network is back:
    /// host.retry_now();
    /// @endcode
    void retry_now() noexcept
    {
        if (impl_)
            impl_->retry_now();
    }

    /// Cancels an outstanding async_receive(), which completes with operation_aborted. Supervision continues.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Ends the supervision and closes the connection. Never blocks. Outstanding operations complete with
    /// operation_aborted.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Asynchronously receives the next report. Further receivers are host_feed objects.
    ///
    /// If the daemon cannot be reached, the operation succeeds with a host_disconnected.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, host_report)`
    ///
    /// @par Errors
    /// @li error::events_lost: the queue of reports overflowed and was dropped. The next report is
    /// host_connected, whose `missed` names what was missed; while the host is away, it is host_disconnected,
    /// and host_connected follows later.
    /// @li error::no_event_loop: no event_loop exists.
    /// @li error::operation_in_progress: a receive is outstanding.
    /// @li error::not_open: close() was called.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No report is lost.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, host_report))
            Token = detail::default_token_t<Executor>>
    auto async_receive(Token&& token = {})
    {
        return detail::initiate<&detail::supervisor_impl::async_receive, void(error_code, host_report)>(
            *this, token);
    }

private:
    friend struct detail::access;

    const std::shared_ptr<detail::supervisor_impl>& impl() const noexcept
    {
        return impl_;
    }

    connection_type connection_;
    std::shared_ptr<detail::supervisor_impl> impl_;
};

/// A supervised connection whose executor is asio::any_io_executor.
using supervised_connection = basic_supervised_connection<>;

} // namespace avirt
