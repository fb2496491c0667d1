// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/supervisor_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/event_source.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <concepts>
#include <memory>
#include <utility>

namespace avirt {

/// A connection that is opened again whenever it is lost, and tells what its domains do meanwhile.
///
/// What async_receive() reports is in order and complete: after each host_connected, which replaces all that
/// was known, the domain_changed that follow lead from one state to the next. What happened while nobody was
/// connected is in the next host_connected. A daemon that is away, for a second or a day, costs a try now and
/// then.
///
/// Supervision begins with the first async_receive(), and ends with close() or the object; it keeps the
/// context running until then. Destroying it never blocks. A moved-from one may be assigned to or destroyed,
/// nothing else.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe.
///
/// libvirt: virConnectOpenAuth, virConnectDomainEventRegisterAny, virConnectListAllDomains,
/// virDomainGetState.
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
    using executor_type = Executor;
    using connection_type = basic_connection<Executor>;

    template <class E>
    struct rebind_executor
    {
        using other = basic_supervised_connection<E>;
    };

    explicit basic_supervised_connection(const executor_type& executor, supervision_options options = {})
        : connection_(executor),
          impl_(detail::supervisor_impl::make(
              executor, detail::implementation_of(connection_), std::move(options)))
    {
    }

    template <detail::execution_context ExecutionContext>
    explicit basic_supervised_connection(ExecutionContext& context, supervision_options options = {})
        : basic_supervised_connection(executor_type(context.get_executor()), std::move(options))
    {
    }

    basic_supervised_connection(basic_supervised_connection&&) noexcept = default;

    basic_supervised_connection& operator=(basic_supervised_connection&& other) noexcept
    {
        if (this != &other) {
            close();
            connection_ = std::move(other.connection_);
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    ~basic_supervised_connection()
    {
        close();
    }

    executor_type get_executor() const noexcept
    {
        return connection_.get_executor();
    }

    /// For calls, streams and event sources. It is not open while the daemon is away: they fail with
    /// error::not_open then. To be neither opened nor closed nor, as a whole, cancelled by others; its
    /// async_wait_closed() is the supervision's where the driver reports no events.
    connection_type& connection() noexcept
    {
        return connection_;
    }

    /// Subscribes the source, which must have been made with connection(), whenever the connection has been
    /// opened, before host_connected is reported.
    ///
    /// Its async_receive() tells of a loss by condition::connection_lost, and of a kind of events that the
    /// daemon does not know by condition::not_supported, once each time, and waits for the next event then.
    /// It is no longer followed when it is unsubscribed or destroyed.
    template <class Event, class E>
    void follow(basic_event_source<Event, E>& source)
    {
        impl_->follow(detail::implementation_of(source));
    }

    /// An outstanding async_receive() completes with operation_aborted; supervision goes on.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Ends the supervision, and closes the connection. Never blocks. Outstanding operations complete with
    /// operation_aborted.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Completes with the next report.
    ///
    /// @param token Completion signature: `void(error_code, host_report)`.
    ///
    /// Errors: error::events_lost where reports had to be dropped because nobody received them:
    /// host_connected follows; error::no_event_loop; error::operation_in_progress; error::not_open after
    /// close(). That the daemon cannot be reached is no error, but host_disconnected. Cancellation: terminal,
    /// partial and total; no report gets lost by it.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, host_report))
            Token = detail::default_token_t<Executor>>
    auto async_receive(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code, host_report)>(initiate_receive{this}, token);
    }

private:
    struct initiate_receive
    {
        basic_supervised_connection* self;
        using executor_type = Executor;

        executor_type get_executor() const noexcept
        {
            return self->get_executor();
        }

        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            self->impl_->async_receive(detail::report_handler(std::forward<Handler>(handler)), details);
        }
    };

    connection_type connection_;
    std::shared_ptr<detail::supervisor_impl> impl_;
};

using supervised_connection = basic_supervised_connection<>;

} // namespace avirt
