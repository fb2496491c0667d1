// SPDX-License-Identifier: BSL-1.0
#include "loop/libvirt_registration.hpp"

#include "loop/event_registry.hpp"

#include <avirt/detail/failure.hpp>

#include <libvirt/virterror.h>

namespace avirt::detail {
namespace {

thread_local bool probe_arrived = false;

void probe(int, void*) {}

/// Whether libvirt's calls arrive here. libvirt keeps the first implementation, and ignores others without
/// reporting an error (docs/libvirt.md, "Registration").
bool is_ours()
{
    probe_arrived = false;
    const int id = virEventAddTimeout(-1, probe, nullptr, nullptr);
    if (!probe_arrived && id >= 0)
        virEventRemoveTimeout(id);
    virResetLastError();
    return probe_arrived;
}

event_registry& registry()
{
    return event_registry::instance();
}

bool register_once()
{
    if (virInitialize() < 0)
        throw_last_error();
    virEventRegisterImpl(
        [](int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free) {
            return registry().add_handle(fd, events, callback, opaque, free);
        },
        [](int watch, int events) { registry().update_handle(watch, events); },
        [](int watch) { return registry().remove_handle(watch); },
        [](int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
            return registry().add_timeout(interval, callback, opaque, free);
        },
        [](int timer, int interval) { registry().update_timeout(timer, interval); },
        [](int timer) { return registry().remove_timeout(timer); });
    return is_ours();
}

} // namespace

void register_with_libvirt()
{
    static const bool ours = register_once();
    if (!ours)
        throw exception(error::foreign_event_loop, {});
}

void note_arrival(virEventTimeoutCallback callback) noexcept
{
    if (callback == &probe)
        probe_arrived = true;
}

} // namespace avirt::detail
