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

void event_registry::interrupt_unless_used(connection_link& link) noexcept
{
    constexpr unsigned owners_use = 1;
    lock held(mutex_);
    if (link.uses <= owners_use)
        interrupt_locked(link, connection_link::end::interrupted);
}

void event_registry::interrupt_closing(connection_link& link) noexcept
{
    lock held(mutex_);
    if (link.closings != 0)
        interrupt_locked(link, connection_link::end::interrupted);
}

void event_registry::begin_use(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    ++link->uses;
    see_patience(held, link);
}

void event_registry::end_use(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    --link->uses;
    see_patience(held, link);
}

void event_registry::begin_work(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    ++link->works;
    see_patience(held, link);
}

void event_registry::end_work(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    --link->works;
    see_patience(held, link);
}

void event_registry::begin_closing(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    ++link->closings;
    see_patience(held, link);
}

void event_registry::end_closing(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    --link->closings;
    see_patience(held, link);
}

void event_registry::share(const std::shared_ptr<connection_link>& link) noexcept
{
    lock held(mutex_);
    link->is_shared = true;
    see_patience(held, link);
}

void event_registry::see_patience(lock& held, const std::shared_ptr<connection_link>& link) noexcept
{
    see_patience_locked(link);
    wake(held, is_idle_locked() ? request_wake_up_locked() : timeouts_changed_locked());
}

/// Whenever something begins or ends the time starts anew: a daemon that answers is not to be interrupted for
/// having a lot to answer.
void event_registry::see_patience_locked(const std::shared_ptr<connection_link>& link) noexcept
try {
    constexpr int milliseconds = 1000;
    if (const int timer = std::exchange(link->patience, 0)) {
        timeouts_.remove(timer);
        --own_timeouts_;
        close_tables_if_unused();
    }
    const bool is_vain = link->uses == 0 && (link->closings != 0 || (link->works != 0 && !link->is_shared));
    if (!is_vain || link->socket < 0)
        return;
    const auto call = [](int timer, void*) { instance().lose_patience(timer); };
    link->patience =
        timeouts_.add({.interval = milliseconds, .callback = call, .owner = link, .is_own = true});
    ++own_timeouts_;
}
catch (const std::bad_alloc&) {
    // It may take as long as it likes, then.
}

void event_registry::lose_patience(int timer) noexcept
{
    lock held(mutex_);
    const auto* t = timeouts_.find(timer);
    const auto link = t ? t->owner : nullptr;
    if (!link || link->patience != timer) // It has ended just now.
        return;
    timeouts_.remove(timer);
    --own_timeouts_;
    link->patience = 0;
    interrupt_locked(*link, connection_link::end::interrupted);
    close_tables_if_unused();
}

// Under the lock: afterwards the number may mean another file.
void event_registry::interrupt_locked(connection_link& link, connection_link::end why) noexcept
{
    if (link.ended_by == connection_link::end::none)
        link.ended_by = why;
    cut_off(link);
}

/// Returns whether the search is over by that.
bool event_registry::found_locked(search_scope& search, int watch) noexcept
try {
    auto* w = watches_.find(watch);
    if (!w || search.found)
        return false;
    if (!w->link) {
        if (!search.link)
            search.link = std::make_shared<connection_link>();
        deferred_.reserve(1);
        ++w->room;
        w->link = search.link;
        found_socket_locked(*w->link, watch, w->fd);
        see_patience_locked(w->link);
    }
    search.found = w->link;
    return true;
}
catch (const std::bad_alloc&) {
    return false;
}

void event_registry::found_socket_locked(connection_link& link, int watch, int fd) noexcept
{
    link.watch = watch;
    link.socket = fd;
    link.is_remote = true;
    if (link.ended_by != connection_link::end::none) // Interrupted before its socket was known.
        cut_off(link);
}

/// Returns whether others are to hear of it.
bool event_registry::lose_locked(const watch_table::watch& removed) noexcept
{
    const auto& link = removed.link;
    if (!link || link->watch != removed.id)
        return false;
    link->watch = 0;
    link->socket = -1;
    see_patience_locked(link);
    link->command = {};
    const bool by_keepalive = kept_alive_ == link.get() && dispatcher_ == std::this_thread::get_id();
    if (link->ended_by == connection_link::end::none)
        link->ended_by = by_keepalive ? connection_link::end::silence : connection_link::end::peer;
    if (link->observers.empty())
        return false;
    const auto tell = [](void* l) {
        lock held(instance().mutex_);
        instance().notify(held, **static_cast<std::shared_ptr<connection_link>*>(l), &link_observer::on_lost);
    };
    deferred_.push({.function = tell, .link = link});
    return true;
}

/// libvirt's keepalive timer was due. Every message that libvirt reads sets it anew; for what is left in the
/// socket it is the socket that tells of progress. Whether the daemon was silent for too long.
bool event_registry::is_silent_locked(const timeout_table::timeout& keepalive) noexcept
{
    auto& link = *keepalive.link;
    const auto before = std::exchange(link.held, held_by_socket(link));
    const auto& now = link.held;
    // A thread that waits in a call sets the timer for each PING that is sent meanwhile, too.
    const bool is_by_ping = keepalive.by_calls && link.is_plain && now.unsent != 0;
    const bool has_heard = (keepalive.in_a_row == 1 && !is_by_ping) || now.unread != before.unread;
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
