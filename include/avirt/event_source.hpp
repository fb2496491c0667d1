// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/events.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace avirt {

template <class Executor>
class basic_supervised_connection;

template <libvirt_event Event, class Executor = asio::any_io_executor>
class basic_event_source;

namespace detail {

/// Grants internal code access to the implementation.
template <class Event, class Executor>
const std::shared_ptr<event_source_impl>& implementation_of(basic_event_source<Event, Executor>& source)
{
    return source.impl_;
}

} // namespace detail

/// The events of one kind that libvirt reports on a connection: of all objects, or of one.
///
/// What comes between async_subscribe() and the first async_receive() is kept, up to the capacity. When more
/// comes the oldest goes: the next receive completes with error::events_lost, lost() tells how many there
/// were, and receiving goes on.
///
/// A source that is subscribed keeps libvirt's connection alive. Destroying it never blocks: operations that
/// are outstanding complete with operation_aborted, and libvirt is told elsewhere.
///
/// A moved-from source may be assigned to or destroyed, nothing else.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe.
///
/// libvirt: virConnectDomainEventRegisterAny, virConnectNetworkEventRegisterAny and their like.
///
/// @tparam Event One of the types of events.hpp.
///
/// @code
/// avirt::event_source<avirt::domain_lifecycle> source{conn};
/// co_await source.async_subscribe();
/// for (;;) {
///     auto event = co_await source.async_receive();
///     std::cout << virDomainGetName(event.domain.get()) << ": " << event.event << '\n';
/// }
/// @endcode
template <libvirt_event Event, class Executor>
class basic_event_source
{
public:
    using event_type = Event;
    using executor_type = Executor;

    template <class E>
    struct rebind_executor
    {
        using other = basic_event_source<Event, E>;
    };

    /// Not subscribed. Completion handlers run on the connection's executor by default.
    template <class E>
    explicit basic_event_source(basic_connection<E>& on, event_source_options options = {})
        : executor_(on.get_executor()),
          impl_(detail::event_source_impl::make(
              executor_, detail::implementation_of(on), detail::kind_of<Event>(), std::move(options)))
    {
    }

    /// A supervised connection has the connection that a source is made with: pass host.connection().
    template <class E>
    explicit basic_event_source(basic_supervised_connection<E>& host, event_source_options = {}) =
        delete; // pass host.connection()

    basic_event_source(basic_event_source&&) noexcept = default;

    basic_event_source& operator=(basic_event_source&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    ~basic_event_source()
    {
        close();
    }

    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Outstanding operations complete with operation_aborted.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// How many events had to go since this was asked last.
    std::uint64_t lost() noexcept
    {
        return impl_ ? impl_->lost() : 0;
    }

    /// Has libvirt report the events.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::not_open where the connection is not, error::already_open where this is subscribed,
    /// error::operation_in_progress, and libvirt's: condition::not_found for an object that does not exist,
    /// condition::not_supported for an event that the driver or the daemon does not know. After a failure it
    /// may be tried again. Cancellation: as basic_connection::async_call().
    ///
    /// libvirt: the lookup of the object, virConnectDomainEventRegisterAny and its like, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_subscribe(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_subscribe{{this}}, token);
    }

    /// Completes with the next event.
    ///
    /// @param token Completion signature: `void(error_code, Event)`.
    ///
    /// Errors: error::events_lost, after which receiving goes on; error::not_open where this is not
    /// subscribed; error::operation_in_progress; condition::connection_lost when the connection is gone and
    /// what came before has been received: this is no longer subscribed then. Cancellation: terminal, partial
    /// and total; no event gets lost by it.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, Event)) Token = detail::default_token_t<Executor>>
    auto async_receive(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code, Event)>(initiate_receive{{this}}, token);
    }

    /// Completes when libvirt reports nothing any more. A receive that is outstanding completes with
    /// operation_aborted; what was not received is dropped.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: error::not_open, error::operation_in_progress. Cancellation: terminal, partial and total; this
    /// is no longer subscribed nevertheless.
    ///
    /// libvirt: virConnectDomainEventDeregisterAny and its like, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_unsubscribe(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_unsubscribe{{this}}, token);
    }

private:
    template <class E, class X>
    friend const std::shared_ptr<detail::event_source_impl>& detail::implementation_of(
        basic_event_source<E, X>&);

    struct initiation
    {
        basic_event_source* self;
        using executor_type = Executor;

        executor_type get_executor() const noexcept
        {
            return self->get_executor();
        }
    };

    struct initiate_subscribe : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl_->async_subscribe(detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    struct initiate_receive : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl_->async_receive(
                detail::event_handler(
                    detail::event_completion<std::decay_t<Handler>, Event>{std::forward<Handler>(handler)}),
                details);
        }
    };

    struct initiate_unsubscribe : initiation
    {
        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            this->self->impl_->async_unsubscribe(
                detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    executor_type executor_;
    std::shared_ptr<detail::event_source_impl> impl_;
};

template <libvirt_event Event>
using event_source = basic_event_source<Event>;

} // namespace avirt
