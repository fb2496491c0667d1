// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/error.hpp>
#include <avirt/event_source_options.hpp>
#include <avirt/events.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt {

template <class Executor>
class basic_supervised_connection;

/// The events of one type that libvirt reports on a connection, of all objects or of one.
///
/// Events are queued from async_subscribe() on, up to event_source_options::capacity. If the queue overflows,
/// the oldest event is dropped, the next receive completes with error::events_lost, lost() returns the number
/// of dropped events, and receiving continues.
///
/// A subscribed source keeps libvirt's connection alive. Destroying a source never blocks: outstanding
/// operations complete with operation_aborted, and the subscription is removed on a worker thread.
///
/// A moved-from source can only be assigned to or destroyed.
///
/// @tparam Event One of the types of events.hpp.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @par libvirt
/// virConnectDomainEventRegisterAny, virConnectNetworkEventRegisterAny and the like.
///
/// @code
/// avirt::event_source<avirt::domain_lifecycle> source{conn};
/// co_await source.async_subscribe();
/// for (;;) {
///     auto event = co_await source.async_receive();
///     std::cout << virDomainGetName(event.domain.get()) << ": " << event.event << '\n';
/// }
/// @endcode
template <libvirt_event Event, class Executor = asio::any_io_executor>
class basic_event_source
{
public:
    /// The type of the events.
    using event_type = Event;
    /// The type of the executor associated with the object.
    using executor_type = Executor;

    /// Rebinds the source type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_event_source<Event, E>;
    };

    /// Constructs a source that is not subscribed.
    ///
    /// @param conn The connection to subscribe on, whose executor the source uses. It may be closed,
    /// moved or destroyed while the source lives; it must be open when the source subscribes.
    /// @param options Which events to report, and how many to queue.
    template <class E>
    explicit basic_event_source(basic_connection<E>& conn, event_source_options options = {})
        : executor_(conn.get_executor()),
          impl_(detail::event_source_impl::make(
              executor_, detail::implementation_of(conn), detail::kind_of<Event>(), std::move(options)))
    {
    }

    /// A source is made with the connection of a supervised connection: pass host.connection().
    template <class E>
    explicit basic_event_source(basic_supervised_connection<E>& host, event_source_options = {}) =
        delete; // pass host.connection()

    /// Move-constructs a source from another.
    basic_event_source(basic_event_source&&) noexcept = default;

    /// Ends the subscription and move-assigns another source.
    basic_event_source& operator=(basic_event_source&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Ends the subscription. Never blocks.
    ~basic_event_source()
    {
        close();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Cancels all outstanding operations, which complete with operation_aborted.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Returns the number of events that were dropped since the last call of this function.
    std::uint64_t lost() noexcept
    {
        return impl_ ? impl_->lost() : 0;
    }

    /// Asynchronously subscribes to the events.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the connection is not open.
    /// @li error::already_open, error::operation_in_progress: the source is subscribed, or is being
    /// subscribed or unsubscribed.
    /// @li condition::not_found: the object does not exist.
    /// @li condition::not_supported: the driver or the daemon does not know this event.
    /// @li error::no_event_loop: libvirt does not watch the connection's socket.
    /// @li libvirt's errors.
    ///
    /// After a failure the operation may be tried again.
    ///
    /// @par Per-operation cancellation
    /// As of basic_connection::async_call().
    ///
    /// @par libvirt
    /// The lookup of the object, virConnectDomainEventRegisterAny and the like, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_subscribe(Token&& token = {})
    {
        return detail::initiate<&detail::event_source_impl::async_subscribe, void(error_code)>(*this, token);
    }

    /// Asynchronously receives the next event.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, Event)`
    ///
    /// @par Errors
    /// @li error::events_lost: the queue overflowed. Receiving continues.
    /// @li error::not_open: the source is not subscribed.
    /// @li error::operation_in_progress: a receive is outstanding.
    /// @li condition::connection_lost: the connection is lost, and all events that came before have been
    /// received. The source is not subscribed any more.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No event is lost.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, Event)) Token = detail::default_token_t<Executor>>
    auto async_receive(Token&& token = {})
    {
        const auto launch = [](basic_event_source& self, auto&& handler, error_details* details) {
            using completion = detail::event_completion<std::decay_t<decltype(handler)>, Event>;
            self.impl()->async_receive(
                detail::erase_handler<void(error_code, std::unique_ptr<detail::erased_event>)>(
                    completion(std::forward<decltype(handler)>(handler)), self.get_executor()),
                details);
        };
        return asio::async_initiate<Token, void(error_code, Event)>(detail::initiation(*this, launch), token);
    }

    /// Asynchronously ends the subscription.
    ///
    /// The operation completes when libvirt reports no further events. An outstanding receive completes with
    /// operation_aborted, and queued events are dropped.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the source is not subscribed.
    /// @li error::operation_in_progress: the source is being subscribed or unsubscribed.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. The subscription ends all the same.
    ///
    /// @par libvirt
    /// virConnectDomainEventDeregisterAny and the like, on a worker thread.
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_unsubscribe(Token&& token = {})
    {
        return detail::initiate<&detail::event_source_impl::async_unsubscribe, void(error_code)>(
            *this, token);
    }

private:
    friend struct detail::access;

    const std::shared_ptr<detail::event_source_impl>& impl() const noexcept
    {
        return impl_;
    }

    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    executor_type executor_;
    std::shared_ptr<detail::event_source_impl> impl_;
};

/// An event source whose executor is asio::any_io_executor.
template <libvirt_event Event>
using event_source = basic_event_source<Event>;

} // namespace avirt
