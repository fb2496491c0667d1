// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/loop_interface.hpp"
#include "loop/dispatch_scheduler.hpp"
#include "loop/dispatcher.hpp"
#include "loop/event_tables.hpp"
#include "loop/loop_backend.hpp"
#include "loop/socket_monitor.hpp"

#include <avirt/event_loop_stats.hpp>

#include <libvirt/libvirt.h>

#include <memory>

namespace avirt::detail {

/// libvirt's event implementation: the six functions that add, update and remove watches and timeouts, and
/// the binding of the loop that serves them.
///
/// Thread safety: all functions may be called from any thread, and all but release() with libvirt's locks
/// held.
class event_registry final : public loop_interface
{
public:
    event_registry(
        event_tables& tables, dispatch_scheduler& scheduler, dispatcher& dispatches,
        socket_monitor& sockets) noexcept;

    /// The registry of this process, which is never destroyed: libvirt calls it until the process ends.
    static event_registry& instance();

    /// Makes libvirt use this registry, and the registry use the loop; throws error::foreign_event_loop,
    /// error::event_loop_in_use. The loop dispatches once, even if nothing is registered.
    void bind(std::shared_ptr<loop_backend> loop);
    void unbind(const loop_backend& loop) noexcept;
    bool is_bound() const noexcept;

    // libvirt's six functions. Without a loop nothing can be added.

    int add_handle(int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free);
    void update_handle(int watch, int events) noexcept;
    int remove_handle(int watch) noexcept;
    int add_timeout(int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free);
    void update_timeout(int timer, int interval) noexcept;
    int remove_timeout(int timer) noexcept;

    /// Adds a timeout of avirt's own. If no loop is bound, it waits for the next one.
    int add_internal_timeout(
        int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) noexcept;

    /// Drops the watch in a forked child: what it leads to belongs to the parent.
    void drop_in_child(int watch) noexcept;

    /// Calls function(argument) soon, on a clean stack, while no callback of libvirt's runs: what it removes
    /// from libvirt cannot race with libvirt's own dispatch.
    void defer(virFreeCallback function, void* argument);

    // loop_interface: what core needs of the event loop.

    void work_changed() noexcept override;
    bool call_after(std::chrono::milliseconds delay, void (*function)()) noexcept override;
    void release(
        void (*free)(void*), void* object, const std::function<void()>& before_wait) noexcept override;

    /// Whether the calling thread is inside a dispatch.
    bool is_dispatching_here() const noexcept;
    /// Whether nothing is registered or pending, and no dispatch runs.
    bool is_idle() const noexcept;
    event_loop_stats stats() const noexcept;

private:
    using lock = event_tables::lock;

    int add(timeout_table::timeout&& t) noexcept;
    void finish_removal(lock& held, deferred_queue::call free, std::uint32_t reserved_calls) noexcept;

    event_tables& tables_;
    dispatch_scheduler& scheduler_;
    dispatcher& dispatcher_;
    socket_monitor& sockets_;
};

} // namespace avirt::detail
