// SPDX-License-Identifier: BSL-1.0
#include "loop/event_registry.hpp"

#include "loop/connection_use.hpp"
#include "loop/libvirt_registration.hpp"
#include "loop/socket_scopes.hpp"

#include <new>
#include <utility>

namespace avirt::detail {

event_registry::event_registry(
    event_tables& tables, dispatch_scheduler& scheduler, dispatcher& dispatches,
    socket_monitor& sockets) noexcept
    : tables_(tables),
      scheduler_(scheduler),
      dispatcher_(dispatches),
      sockets_(sockets)
{
}

void event_registry::bind(std::shared_ptr<loop_backend> loop)
{
    register_with_libvirt();
    scheduler_.bind(std::move(loop));
}

void event_registry::unbind(const loop_backend& loop) noexcept
{
    scheduler_.unbind(loop);
}

bool event_registry::is_bound() const noexcept
{
    return scheduler_.is_bound();
}

int event_registry::add_handle(
    int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free)
try {
    auto held = tables_.acquire();
    if (!scheduler_.is_bound(held) || !callback)
        return -1;
    const auto& socket = opening_scope::current();
    // One call for the free callback, and one to tell the observers of the socket.
    const auto reserved_calls = (free ? 1u : 0u) + (socket ? 1u : 0u);
    deferred_queue::reservation reservation(tables_.deferred, reserved_calls);
    const int id = tables_.watches.add(
        {.fd = fd,
         .events = events,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .socket = socket,
         .owner = owner_scope::current(),
         .reading = socket ? watch_table::flow::pause_requested : watch_table::flow::open,
         .reserved_calls = reserved_calls});
    if (id < 0)
        return -1;
    reservation.keep();
    added_watch::note(id);
    if (socket) {
        socket->command = command_behind(fd);
        sockets_.attach(*socket, id, fd);
    }
    scheduler_.watch_added(held);
    return id;
}
catch (const std::bad_alloc&) {
    return -1; // No exception crosses libvirt's frames.
}

void event_registry::update_handle(int watch, int events) noexcept
{
    auto held = tables_.acquire();
    // libvirt disables a connection's watch while it sends or calls. If one thread runs the loop, no event
    // can come in between on that thread. On other threads the answer of the daemon would wake the loop in
    // vain.
    using disabling = watch_table::disabling;
    const auto when = scheduler_.has_dispatched_here(held) ? disabling::lazy : disabling::at_once;
    if (const auto& opening = opening_scope::current(); opening && opening->watch == watch)
        tables_.watches.resume(watch); // The first call to the daemon: the keepalive is set up.
    tables_.watches.update(watch, events, when);
    auto* const search = socket_search::current();
    const bool is_found = search && sockets_.find(*search, watch);
    scheduler_.watch_updated(held);
    if (is_found)
        search->on_found();
}

int event_registry::remove_handle(int watch) noexcept
{
    auto held = tables_.acquire();
    const auto removed = tables_.watches.remove(watch);
    if (removed.id == 0)
        return -1;
    const bool by_keepalive = dispatcher_.is_calling_keepalive_of(held, removed.socket.get());
    const bool tells_observers = sockets_.detach(removed, by_keepalive);
    // The free callback of a connection that leads through a command waits for the command's end.
    const bool blocks = removed.socket != nullptr;
    finish_removal(
        held, {removed.free, removed.opaque, blocks}, removed.reserved_calls - (tells_observers ? 1u : 0u));
    return 0;
}

int event_registry::add_timeout(
    int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free)
{
    note_arrival(callback);
    if (!callback)
        return -1;
    return add(
        {.interval = interval,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .socket = opening_scope::current(),
         .owner = owner_scope::current()});
}

int event_registry::add_internal_timeout(
    int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) noexcept
{
    return add(
        {.interval = interval, .callback = callback, .opaque = opaque, .free = free, .is_internal = true});
}

int event_registry::add(timeout_table::timeout&& t) noexcept
try {
    auto held = tables_.acquire();
    if (!scheduler_.is_bound(held) && !t.is_internal)
        return -1;
    t.reserved_calls = t.free ? 1u : 0u;
    deferred_queue::reservation reservation(tables_.deferred, t.reserved_calls);
    const int id = tables_.timeouts.add(std::move(t));
    reservation.keep();
    scheduler_.timeouts_changed(held);
    return id;
}
catch (const std::bad_alloc&) {
    return -1; // No exception crosses libvirt's frames.
}

void event_registry::update_timeout(int timer, int interval) noexcept
{
    auto held = tables_.acquire();
    using from = timeout_table::update_from;
    const auto origin = dispatcher_.is_calling_timer(held, timer) ? from::its_callback
        : daemon_wait::is_here()                                  ? from::call
                                                                  : from::elsewhere;
    tables_.timeouts.update(timer, interval, origin);
    scheduler_.timeouts_changed(held);
}

int event_registry::remove_timeout(int timer) noexcept
{
    auto held = tables_.acquire();
    const auto removed = tables_.timeouts.remove(timer);
    if (removed.id == 0)
        return -1;
    finish_removal(held, {removed.free, removed.opaque}, removed.reserved_calls);
    return 0;
}

void event_registry::finish_removal(
    lock& held, deferred_queue::call free, std::uint32_t reserved_calls) noexcept
{
    const bool has_free = free.function != nullptr;
    if (has_free)
        tables_.deferred.push(std::move(free));
    tables_.deferred.cancel_reserved(reserved_calls - (has_free ? 1u : 0u));
    scheduler_.registration_removed(held, has_free);
}

void event_registry::drop_in_child(int watch) noexcept
{
    const auto held = tables_.acquire();
    if (auto* w = tables_.watches.find(watch))
        w->is_dropped_in_child = true;
}

void event_registry::defer(virFreeCallback function, void* argument)
{
    auto held = tables_.acquire();
    tables_.deferred.reserve(1);
    tables_.deferred.push({function, argument});
    scheduler_.wake(held);
}

void event_registry::work_changed() noexcept
{
    scheduler_.work_changed();
}

bool event_registry::call_after(std::chrono::milliseconds delay, void (*function)()) noexcept
{
    const auto call = [](int timer, void* f) {
        instance().remove_timeout(timer);
        reinterpret_cast<void (*)()>(f)();
    };
    auto* const argument = reinterpret_cast<void*>(function);
    return add_internal_timeout(static_cast<int>(delay.count()), call, argument, nullptr) >= 0;
}

void event_registry::release(
    void (*free)(void*), void* object, const std::function<void()>& before_wait) noexcept
{
    const closing_scope scope(nullptr, before_wait);
    free(object);
}

bool event_registry::is_dispatching_here() const noexcept
{
    return scheduler_.is_dispatching_here();
}

bool event_registry::is_idle() const noexcept
{
    return scheduler_.is_idle();
}

event_loop_stats event_registry::stats() const noexcept
{
    const auto held = tables_.acquire();
    event_loop_stats s;
    s.watches = tables_.watches.size();
    s.timeouts = tables_.timeouts.size() - tables_.timeouts.internal_size();
    s.pending_frees = tables_.deferred.size();
    s.dispatched = dispatcher_.dispatched(held);
    s.longest_callback = dispatcher_.longest_callback(held);
    return s;
}

} // namespace avirt::detail
