// SPDX-License-Identifier: BSL-1.0
#include "loop/dispatcher.hpp"

#include "core/dispatch_completion.hpp"
#include "loop/keepalive_monitor.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace avirt::detail {

/// Ends a dispatch in any case, also if a callback throws: everything is ready for the next one then.
struct dispatcher::scope
{
    dispatcher& self;
    lock& held;
    bool has_more = true; // until a round finds nothing

    ~scope()
    {
        if (!held.owns_lock())
            held.lock();
        self.forget_called_timer();
        self.scheduler_.end_dispatch(held, has_more);
    }
};

dispatcher::dispatcher(event_tables& tables, dispatch_scheduler& scheduler, socket_monitor& sockets) noexcept
    : tables_(tables),
      scheduler_(scheduler),
      sockets_(sockets)
{
}

void dispatcher::dispatch(loop_backend& loop, dispatch_state::trigger due)
{
    auto held = tables_.acquire();
    if (!scheduler_.begin_dispatch(held, loop, due))
        return;
    scope dispatch{*this, held};
    now_ = clock::now();
    fairness_.begin_dispatch(now_);
    while (dispatch.has_more && fairness_.has_round(now_)) {
        const bool has_found_files = fairness_.looks_at_files() && serve_watches(held, loop);
        // Select the deferred calls before the timeouts are served: libvirt arms the timeout of its event
        // queue before it removes a connection's watch, possibly on another thread. Its events are then
        // delivered before the observers hear of the loss.
        const bool has_deferred = tables_.deferred.take();
        bool has_progress = has_found_files;
        has_progress |= serve_timeouts(held, loop);
        has_progress |= has_deferred && run_deferred(held);
        // A handler that waits need not wait for another look at the files: the set is level-triggered.
        dispatch.has_more =
            has_progress && scheduler_.is_bound(held, loop) && !dispatch_completion::is_waiting();
        fairness_.end_round(has_found_files);
    }
}

void dispatcher::run_deferred_unbound()
{
    auto held = tables_.acquire();
    if (!scheduler_.begin_unbound(held))
        return;
    const scope dispatch{*this, held};
    while (!scheduler_.is_bound(held) && run_deferred(held))
        ;
}

bool dispatcher::is_calling_timer(const lock& held, int timer) const noexcept
{
    return called_timer_ == timer && scheduler_.is_dispatching_here(held);
}

bool dispatcher::is_calling_keepalive_of(const lock& held, const connection_socket* socket) const noexcept
{
    return socket && called_keepalive_of_ == socket && scheduler_.is_dispatching_here(held);
}

void dispatcher::forget_called_timer() noexcept
{
    called_timer_ = 0;
    called_keepalive_of_ = nullptr;
}

bool dispatcher::serve_watches(lock& held, loop_backend& loop)
{
    collect_ready_watches(held);
    if (tables_.watches.needs_rebuild())
        rebuild_set(held, loop);
    for (std::size_t i = 0; i < ready_watches_.size() && scheduler_.is_bound(held, loop); ++i)
        serve_watch(held, loop, ready_watches_[i]);
    return !ready_watches_.empty();
}

void dispatcher::collect_ready_watches(lock& held)
{
    const int set = tables_.watches.epoll_fd();
    held.unlock();
    const int count = ::epoll_wait(set, events_.data(), static_cast<int>(events_.size()), 0);
    held.lock();
    ready_watches_.clear();
    for (int i = 0; i < count; ++i) {
        const auto& event = events_[static_cast<std::size_t>(i)];
        if (event.data.u64 != epoll_set::wake_tag)
            tables_.watches.collect(event, ready_watches_);
    }
    tables_.watches.collect_always_ready(ready_watches_);
}

void dispatcher::rebuild_set(lock& held, loop_backend& loop)
{
    held.unlock();
    loop.forget_set();
    held.lock();
    tables_.watches.rebuild(tables_.wake_fds());
}

void dispatcher::serve_watch(lock& held, loop_backend& loop, const watch_table::ready record)
{
    auto& watches = tables_.watches;
    const auto* w = watches.find(record);
    if (w && record.writable)
        notify(held, *std::shared_ptr(w->socket), &socket_observer::on_writable);
    w = watches.find(record);
    if (w && record.hung_up)
        notify(held, *std::shared_ptr(w->socket), &socket_observer::on_hung_up);
    w = watches.find(record);
    constexpr int always = VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;
    const int events = w && w->events != 0 ? record.events & (w->events | always) : 0;
    if (events == 0 || w->reading != watch_table::flow::open)
        return;
    const auto socket = w->socket;
    call(held, loop, *w, events);
    if (socket)
        notify(held, *socket, &socket_observer::on_served);
}

void dispatcher::call(lock& held, loop_backend& loop, const watch_table::watch& w, int events)
{
    call_out(
        held, loop, w.id, w.fd, w.owner,
        [callback = w.callback, id = w.id, fd = w.fd, events, opaque = w.opaque] {
            callback(id, fd, events, opaque);
        });
}

bool dispatcher::serve_timeouts(lock& held, loop_backend& loop)
{
    auto& timeouts = tables_.timeouts;
    bool has_served = false;
    if (timeouts.has_deadlines()) {
        const auto now = now_;
        while (scheduler_.is_bound(held, loop)) {
            const auto* t = timeouts.next_due(now);
            if (!t)
                break;
            serve_timeout(held, loop, *t);
            has_served = true;
        }
    }
    ready_timeouts_.clear();
    timeouts.collect_ready(ready_timeouts_);
    for (std::size_t i = 0; i < ready_timeouts_.size() && scheduler_.is_bound(held, loop); ++i) {
        if (const auto* t = timeouts.find_ready(ready_timeouts_[i])) {
            serve_timeout(held, loop, *t);
            has_served = true;
        }
    }
    return has_served;
}

void dispatcher::serve_timeout(lock& held, loop_backend& loop, const timeout_table::timeout& t)
{
    if (t.socket)
        serve_keepalive(held, loop, t);
    else
        call(held, loop, t);
}

void dispatcher::serve_keepalive(lock& held, loop_backend& loop, const timeout_table::timeout& t)
{
    const auto socket = t.socket;
    const int id = t.id;
    switch (supervise_keepalive(t, tables_.watches)) {
    case keepalive_action::call_libvirt:
        break;
    case keepalive_action::send_pong:
        return send_pong(*socket);
    case keepalive_action::serve_writable:
        return call(held, loop, *tables_.watches.find(socket->watch), VIR_EVENT_HANDLE_WRITABLE);
    case keepalive_action::interrupt:
        return shut_down(*socket, connection_socket::end::silence);
    case keepalive_action::skip:
        return;
    }
    notify(held, *socket, &socket_observer::on_sending);
    const auto* still = scheduler_.is_bound(held, loop) ? tables_.timeouts.find(id) : nullptr;
    if (!still)
        return;
    call(held, loop, *still);
    notify(held, *socket, &socket_observer::on_served); // libvirt reads while it writes.
}

void dispatcher::call(lock& held, loop_backend& loop, const timeout_table::timeout& t)
{
    called_timer_ = t.id;
    called_keepalive_of_ = t.socket.get();
    call_out(held, loop, t.id, -1, t.owner, [callback = t.callback, id = t.id, opaque = t.opaque] {
        callback(id, opaque);
    });
    forget_called_timer();
}

bool dispatcher::run_deferred(lock& held)
{
    if (!tables_.deferred.take())
        return false;
    held.unlock();
    tables_.deferred.run();
    now_ = clock::now();
    held.lock();
    return true;
}

void dispatcher::notify(lock& held, const connection_socket& socket, void (socket_observer::*event)())
{
    if (sockets_.notify(held, socket, event))
        now_ = clock::now(); // The time of the observers does not count for the next callback.
}

template <class Callback>
void dispatcher::call_out(
    lock& held, loop_backend& loop, int id, int fd, std::shared_ptr<connection_socket> owner,
    Callback callback)
{
    ++dispatched_;
    held.unlock();
    callback();
    // The callback's time begins when the previous one returned: reading the clock once more would cost a
    // twelfth of a short round.
    const auto start = std::exchange(now_, clock::now());
    const auto took = now_ - start;
    const auto& options = loop.options();
    if (options.slow_callback.count() > 0 && took >= options.slow_callback && options.on_slow_callback) {
        options.on_slow_callback(
            {.id = id,
             .fd = fd,
             .is_timeout = fd < 0,
             .took = took,
             .connection_uri = owner ? owner->uri : std::string()});
    }
    held.lock();
    longest_callback_ = std::max<std::chrono::nanoseconds>(longest_callback_, took);
}

} // namespace avirt::detail
