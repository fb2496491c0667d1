// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/handler_adapter.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>
#include <avirt/event_source_options.hpp>
#include <avirt/events.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace avirt {

namespace detail {

/// An event of any type.
class erased_event
{
public:
    virtual ~erased_event() = default;
};

template <class Event>
struct held_event final : erased_event
{
    explicit held_event(Event e) : event(std::move(e)) {}

    Event event;
};

using event_handler = asio::any_completion_handler<void(error_code, std::unique_ptr<erased_event>)>;

enum class event_object { domain, network, storage_pool, node_device, secret };

/// What an event source asks libvirt for.
struct event_kind
{
    event_object object;
    int id;
    /// Callbacks of the type that libvirt has for the id. libvirt takes each function once for an object and
    /// an id, so their number is the number of sources that may subscribe to the same events.
    std::span<void (*const)()> callbacks;
};

/// The one compiled implementation behind every basic_event_source.
class AVIRT_DECL event_source_impl
{
public:
    static std::shared_ptr<event_source_impl> make(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection, event_kind kind,
        event_source_options options);
    virtual ~event_source_impl();

    /// Delivers an event to the source of the subscription to which @p opaque, a callback's, points.
    static void deliver(void* opaque, std::size_t callback, std::unique_ptr<erased_event> event) noexcept;

    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual std::uint64_t lost() noexcept = 0;
    /// Sets whether a supervised connection subscribes the source again whenever its subscription has ended.
    /// A receive then waits for the next subscription.
    virtual void set_followed(bool is_followed) noexcept = 0;
    virtual bool is_followed() const noexcept = 0;
    /// Ends the subscription, because the connection has been given up.
    virtual void on_connection_lost(const failure& why) noexcept = 0;
    virtual void async_subscribe(wait_handler handler, error_details* details) = 0;
    /// Subscribes for the supervised connection that follows the source. Completes with operation_aborted if
    /// the source is not followed any more.
    virtual void async_resubscribe(wait_handler handler, error_details* details) = 0;
    virtual void async_receive(event_handler handler, error_details* details) = 0;
    virtual void async_unsubscribe(wait_handler handler, error_details* details) = 0;
};

inline std::string to_member(const char* text)
{
    return text ? text : "";
}

template <class T>
requires std::is_arithmetic_v<T> T to_member(T value)
{
    return value;
}

AVIRT_DECL graphics_address to_member(const virDomainEventGraphicsAddress* address);
AVIRT_DECL std::vector<graphics_identity> to_member(const virDomainEventGraphicsSubject* subject);
AVIRT_DECL std::vector<typed_parameter> to_parameters(const virTypedParameter* params, int nparams);

constexpr event_object object_of(virDomainPtr) noexcept
{
    return event_object::domain;
}

constexpr event_object object_of(virNetworkPtr) noexcept
{
    return event_object::network;
}

constexpr event_object object_of(virStoragePoolPtr) noexcept
{
    return event_object::storage_pool;
}

constexpr event_object object_of(virNodeDevicePtr) noexcept
{
    return event_object::node_device;
}

constexpr event_object object_of(virSecretPtr) noexcept
{
    return event_object::secret;
}

template <class Event, class Callback = typename event_traits<Event>::callback>
struct event_callback;

/// The callback that makes an event from libvirt's parameters, the last of which is the opaque pointer.
template <class Event, class Result, class Object, class... Parameters>
struct event_callback<Event, Result (*)(virConnectPtr, Object, Parameters...)>
{
    static constexpr event_object object = object_of(Object{});

    template <std::size_t Index>
    static Result call(virConnectPtr, Object about, Parameters... parameters) noexcept
    {
        add_reference(about);
        handle<Object> owned(about);
        constexpr std::size_t count = sizeof...(Parameters) - 1;
        const auto all = std::tie(parameters...);
        [&]<std::size_t... Indices>(std::index_sequence<Indices...>)
        {
            event_source_impl::deliver(
                std::get<count>(all), Index, try_make(std::move(owned), std::get<Indices>(all)...));
        }
        (std::make_index_sequence<count>());
        return Result();
    }

private:
    /// Returns null if there is no memory: the event counts as lost.
    template <class... Values>
    static std::unique_ptr<erased_event> try_make(handle<Object> about, Values... values) noexcept
    try {
        return make(std::move(about), values...);
    }
    catch (const std::bad_alloc&) {
        return nullptr;
    }

    template <class... Values>
    static std::unique_ptr<erased_event> make(handle<Object> about, Values... values)
    {
        if constexpr (requires(Event & e) { e.params; })
            return std::make_unique<held_event<Event>>(Event{std::move(about), to_parameters(values...)});
        else
            return std::make_unique<held_event<Event>>(Event{std::move(about), to_member(values)...});
    }
};

template <class Event>
event_kind kind_of()
{
    using callback = event_callback<Event>;
    constexpr std::size_t sources = 32;
    static const auto callbacks = []<std::size_t... Indices>(std::index_sequence<Indices...>)
    {
        return std::array{reinterpret_cast<void (*)()>(&callback::template call<Indices>)...};
    }
    (std::make_index_sequence<sources>());
    return {callback::object, event_traits<Event>::id, callbacks};
}

/// Completes an async_receive: passes on the event by value.
template <class Handler, class Event>
class event_completion
{
public:
    using adapted_handler_type = Handler;

    explicit event_completion(Handler h) : handler_(std::move(h)) {}

    const Handler& handler() const noexcept
    {
        return handler_;
    }

    void operator()(error_code ec, std::unique_ptr<erased_event> event)
    {
        auto result = event ? std::move(static_cast<held_event<Event>&>(*event).event) : Event{};
        event.reset();
        std::move(handler_)(ec, std::move(result));
    }

private:
    Handler handler_;
};

} // namespace detail
} // namespace avirt
