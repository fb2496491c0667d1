// SPDX-License-Identifier: BSL-1.0

// What the registry knows of connections' sockets.
#include "loop/event_registry.hpp"

#include <algorithm>
#include <utility>

namespace avirt::detail {

void event_registry::observe(connection_socket& socket, std::weak_ptr<socket_observer> observer)
{
    lock held(mutex_);
    std::erase_if(socket.observers, [](const auto& o) { return o.expired(); });
    const auto is_it = [&](const auto& o) { return !o.owner_before(observer) && !observer.owner_before(o); };
    if (std::ranges::none_of(socket.observers, is_it))
        socket.observers.push_back(std::move(observer));
}

void event_registry::pause(const connection_socket& socket) noexcept
{
    lock held(mutex_);
    watches_.pause(socket.watch);
}

void event_registry::resume(const connection_socket& socket) noexcept
{
    lock held(mutex_);
    watches_.resume(socket.watch);
}

void event_registry::await_writable(const connection_socket& socket) noexcept
{
    lock held(mutex_);
    watches_.await_writable(socket.watch);
}

void event_registry::interrupt(connection_socket& socket) noexcept
{
    lock held(mutex_);
    interrupt_locked(socket, connection_socket::end::interrupted);
}

void event_registry::interrupt_unless_used(connection_socket& socket) noexcept
{
    constexpr unsigned owners_use = 1;
    lock held(mutex_);
    if (socket.uses <= owners_use)
        interrupt_locked(socket, connection_socket::end::interrupted);
}

void event_registry::interrupt_closing(connection_socket& socket) noexcept
{
    lock held(mutex_);
    if (socket.closings != 0)
        interrupt_locked(socket, connection_socket::end::interrupted);
}

void event_registry::begin_use(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    ++socket->uses;
    update_close_deadline(held, socket);
}

void event_registry::end_use(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    --socket->uses;
    update_close_deadline(held, socket);
}

void event_registry::begin_work(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    ++socket->works;
    update_close_deadline(held, socket);
}

void event_registry::end_work(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    --socket->works;
    update_close_deadline(held, socket);
}

void event_registry::begin_closing(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    ++socket->closings;
    update_close_deadline(held, socket);
}

void event_registry::end_closing(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    --socket->closings;
    update_close_deadline(held, socket);
}

void event_registry::share(const std::shared_ptr<connection_socket>& socket) noexcept
{
    lock held(mutex_);
    socket->is_shared = true;
    update_close_deadline(held, socket);
}

void event_registry::update_close_deadline(
    lock& held, const std::shared_ptr<connection_socket>& socket) noexcept
{
    update_close_deadline_locked(socket);
    wake(held, is_idle_locked() ? request_wake_up_locked() : timeouts_changed_locked());
}

/// Whenever something begins or ends the time starts anew: a daemon that answers is not to be interrupted for
/// having a lot to answer.
void event_registry::update_close_deadline_locked(const std::shared_ptr<connection_socket>& socket) noexcept
try {
    constexpr int milliseconds = 1000;
    if (const int timer = std::exchange(socket->close_timer, 0)) {
        timeouts_.remove(timer);
        --own_timeouts_;
        close_tables_if_unused();
    }
    const bool is_vain =
        socket->uses == 0 && (socket->closings != 0 || (socket->works != 0 && !socket->is_shared));
    if (!is_vain || socket->fd < 0)
        return;
    const auto call = [](int timer, void*) { instance().close_deadline_expired(timer); };
    socket->close_timer =
        timeouts_.add({.interval = milliseconds, .callback = call, .owner = socket, .is_own = true});
    ++own_timeouts_;
}
catch (const std::bad_alloc&) {
    // It may take as long as it likes, then.
}

void event_registry::close_deadline_expired(int timer) noexcept
{
    lock held(mutex_);
    const auto* t = timeouts_.find(timer);
    const auto socket = t ? t->owner : nullptr;
    if (!socket || socket->close_timer != timer) // It has ended just now.
        return;
    timeouts_.remove(timer);
    --own_timeouts_;
    socket->close_timer = 0;
    interrupt_locked(*socket, connection_socket::end::interrupted);
    close_tables_if_unused();
}

// Under the lock: afterwards the number may mean another file.
void event_registry::interrupt_locked(connection_socket& socket, connection_socket::end why) noexcept
{
    if (socket.ended_by == connection_socket::end::none)
        socket.ended_by = why;
    shut_down(socket);
}

/// Returns whether the search is over by that.
bool event_registry::found_locked(socket_search& search, int watch) noexcept
try {
    auto* w = watches_.find(watch);
    if (!w || search.found)
        return false;
    if (!w->socket) {
        if (!search.socket)
            search.socket = std::make_shared<connection_socket>();
        deferred_.reserve(1);
        ++w->room;
        w->socket = search.socket;
        found_socket_locked(*w->socket, watch, w->fd);
        update_close_deadline_locked(w->socket);
    }
    search.found = w->socket;
    return true;
}
catch (const std::bad_alloc&) {
    return false;
}

void event_registry::found_socket_locked(connection_socket& socket, int watch, int fd) noexcept
{
    socket.watch = watch;
    socket.fd = fd;
    socket.is_remote = true;
    if (socket.ended_by != connection_socket::end::none) // Interrupted before its socket was known.
        shut_down(socket);
}

/// Returns whether others are to hear of it.
bool event_registry::lose_locked(const watch_table::watch& removed) noexcept
{
    const auto& socket = removed.socket;
    if (!socket || socket->watch != removed.id)
        return false;
    socket->watch = 0;
    socket->fd = -1;
    update_close_deadline_locked(socket);
    socket->command = {};
    const bool by_keepalive = kept_alive_ == socket.get() && dispatcher_ == std::this_thread::get_id();
    if (socket->ended_by == connection_socket::end::none)
        socket->ended_by = by_keepalive ? connection_socket::end::silence : connection_socket::end::peer;
    if (socket->observers.empty())
        return false;
    const auto tell = [](void* l) {
        lock held(instance().mutex_);
        instance().notify(
            held, **static_cast<std::shared_ptr<connection_socket>*>(l), &socket_observer::on_lost);
    };
    deferred_.push({.function = tell, .socket = socket});
    return true;
}

/// libvirt's keepalive timer was due. Every message that libvirt reads sets it anew; for what is left in the
/// socket it is the socket that tells of progress. Whether the daemon was silent for too long.
bool event_registry::is_silent_locked(const timeout_table::timeout& keepalive) noexcept
{
    auto& socket = *keepalive.socket;
    const auto before = std::exchange(socket.held, measure_buffers(socket));
    const auto& now = socket.held;
    // A thread that waits in a call sets the timer for each PING that is sent meanwhile, too.
    const bool is_by_ping = keepalive.by_calls && socket.is_plain && now.unsent != 0;
    const bool has_heard = (keepalive.in_a_row == 1 && !is_by_ping) || now.unread != before.unread;
    // What it says to what it has taken may be behind what we do not read.
    const bool has_taken = now.unsent < before.unsent || (now.unsent == 0 && now.unread != 0);
    socket.silence = has_heard || has_taken ? 0 : socket.silence + 1;
    return socket.max_silence != 0 && socket.silence >= socket.max_silence;
}

/// Whether what comes is left in the socket, and a PING of libvirt's would read some of it: it reads while it
/// writes, and a PING for each of many intervals brings any amount in.
bool event_registry::keeps_unread_locked(const connection_socket& socket) noexcept
{
    const auto* w = watches_.find(socket.watch);
    return w && w->reading != watch_table::flow::open && socket.is_plain && socket.held.unread != 0;
}

} // namespace avirt::detail
