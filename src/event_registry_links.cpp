// SPDX-License-Identifier: BSL-1.0

// What the registry knows of connections' sockets.
#include "event_registry.hpp"

#include <algorithm>
#include <utility>

namespace avirt::detail {

void event_registry::observe(connection_link& link, std::weak_ptr<link_observer> observer)
{
    lock held(mutex_);
    std::erase_if(link.observers, [](const auto& o) { return o.expired(); });
    const auto is_it = [&](const auto& o) { return !o.owner_before(observer) && !observer.owner_before(o); };
    if (std::ranges::none_of(link.observers, is_it))
        link.observers.push_back(std::move(observer));
}

void event_registry::pause(const connection_link& link) noexcept
{
    lock held(mutex_);
    watches_.pause(link.watch);
}

void event_registry::resume(const connection_link& link) noexcept
{
    lock held(mutex_);
    watches_.resume(link.watch);
}

void event_registry::await_writable(const connection_link& link) noexcept
{
    lock held(mutex_);
    watches_.await_writable(link.watch);
}

void event_registry::interrupt(connection_link& link) noexcept
{
    lock held(mutex_);
    interrupt_locked(link, connection_link::end::interrupted);
}

// Under the lock: afterwards the number may mean another file.
void event_registry::interrupt_locked(connection_link& link, connection_link::end why) noexcept
{
    if (link.ended_by == connection_link::end::none)
        link.ended_by = why;
    cut_off(link);
}

void event_registry::found_locked(search_scope& search, int watch) noexcept
{
    auto* w = watches_.find(watch);
    if (!w || search.found)
        return;
    if (!w->link) {
        w->link = search.link;
        found_socket_locked(*w->link, watch, w->fd);
    }
    search.found = w->link;
}

void event_registry::found_socket_locked(connection_link& link, int watch, int fd) noexcept
{
    link.watch = watch;
    link.socket = fd;
    link.is_remote = true;
    if (link.ended_by != connection_link::end::none) // Interrupted before its socket was known.
        cut_off(link);
}

void event_registry::lose_locked(const watch_table::watch& removed)
{
    const auto& link = removed.link;
    if (!link || link->watch != removed.id)
        return;
    link->watch = 0;
    link->socket = -1;
    link->command = {};
    const bool by_keepalive = kept_alive_ == link.get() && dispatcher_ == std::this_thread::get_id();
    if (link->ended_by == connection_link::end::none)
        link->ended_by = by_keepalive ? connection_link::end::silence : connection_link::end::peer;
    if (link->observers.empty())
        return;
    const auto tell = [](void* argument) {
        const std::unique_ptr<std::shared_ptr<connection_link>> l(
            static_cast<std::shared_ptr<connection_link>*>(argument));
        lock held(instance().mutex_);
        instance().notify(held, **l, &link_observer::on_lost);
    };
    deferred_.push({tell, new std::shared_ptr<connection_link>(link)});
}

/// libvirt's keepalive timer was due. Every message that libvirt reads sets it anew; for what is left in the
/// socket it is the socket that tells of progress. Whether the daemon was silent for too long.
bool event_registry::is_silent_locked(const timeout_table::timeout& keepalive) noexcept
{
    auto& link = *keepalive.link;
    const auto before = std::exchange(link.held, held_by_socket(link));
    const auto& now = link.held;
    const bool has_heard = keepalive.in_a_row == 1 || now.unread != before.unread;
    // What it says to what it has taken may be behind what we do not read.
    const bool has_taken = now.unsent < before.unsent || (now.unsent == 0 && now.unread != 0);
    link.silence = has_heard || has_taken ? 0 : link.silence + 1;
    return link.max_silence != 0 && link.silence >= link.max_silence;
}

/// Whether what comes is left in the socket, and a PING of libvirt's would read some of it: it reads while it
/// writes, and a PING for each of many intervals brings any amount in.
bool event_registry::keeps_unread_locked(const connection_link& link) noexcept
{
    const auto* w = watches_.find(link.watch);
    return w && w->reading != watch_table::flow::open && link.is_plain && link.held.unread != 0;
}

} // namespace avirt::detail
