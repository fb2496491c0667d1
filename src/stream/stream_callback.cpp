// SPDX-License-Identifier: BSL-1.0
#include "stream/stream_callback.hpp"

#include "loop/event_registry.hpp"
#include "loop/socket_scopes.hpp"

#include <libvirt/virterror.h>

#include <utility>

namespace avirt::detail {

bool stream_callback::add(virStreamEventCallback function, void* argument)
{
    const added_watch added;
    if (virStreamEventAddCallback(stream_.get(), 0, function, argument, nullptr) < 0)
        return false;
    is_added_ = true;
    watch_ = added.watch();
    if (!stream_.socket() && watch_ != 0)
        event_registry::instance().drop_in_child(watch_);
    return true;
}

void stream_callback::remove() noexcept
{
    if (!std::exchange(is_added_, false)
        || (!stream_.is_parents() && virStreamEventRemoveCallback(stream_.get()) == 0))
        return;
    // A stream that libvirt has aborted does not know its watch any more.
    if (watch_ != 0)
        event_registry::instance().remove_handle(watch_);
    virResetLastError();
}

bool stream_callback::set(int events)
{
    return std::exchange(requested_, events) == events || !is_added_ || stream_.is_parents()
        || virStreamEventUpdateCallback(stream_.get(), events) == 0;
}

} // namespace avirt::detail
