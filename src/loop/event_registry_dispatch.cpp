// SPDX-License-Identifier: BSL-1.0

// How what is ready is served.
#include "loop/event_registry.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace avirt::detail {
namespace {

/// Rounds of one dispatch before other handlers of the context have their turn. A round costs a system
/// call, a dispatch two more: sixteen keep the share of those small.
constexpr int max_rounds = 16;

/// No further round begins after so much time, however few there were: that is how late another handler of
/// the context may be, beside one round.
constexpr std::chrono::microseconds longest_dispatch{100};

} // namespace

/// Calls the observers with the lock released; they may end in there.
void event_registry::notify(lock& held, const connection_socket& socket, void (socket_observer::*event)())
{
    for (const auto& o : socket.observers) {
        if (auto observer = o.lock())
            notified_.push_back(std::move(observer));
    }
    held.unlock();
    for (const auto& observer : notified_)
        ((*observer).*event)();
    if (!notified_.empty())
        now_ = timeout_table::clock::now(); // It was not the next callback that took the time.
    notified_.clear();
    held.lock();
}

/// Whatever ends a dispatch, an exception from a callback included, the registry is left ready for the next.
struct event_registry::dispatch_scope
{
    event_registry& registry;
    lock& held;
    const loop_backend* loop;

    dispatch_scope(event_registry& r, lock& h, const loop_backend* l) : registry(r), held(h), loop(l)
    {
        registry.dispatching_ = true;
        registry.dispatcher_ = registry.last_dispatcher_ = std::this_thread::get_id();
    }

    ~dispatch_scope()
    {
        if (!held.owns_lock())
            held.lock();
        registry.end_dispatch(held, loop);
    }
};

void event_registry::dispatch(loop_backend& loop, phase due)
{
    lock held(mutex_);
    if (loop_.get() != &loop || phase_ != due)
        return;
    phase_ = phase::idle;
    if (dispatching_) // On behalf of a loop that is gone; when it ends it looks for us.
        return;
    signalled_ = false;
    more_ = true; // Until a round finds nothing; also where an exception ends it.
    dispatch_scope scope(*this, held, &loop);
    now_ = timeout_table::clock::now();
    const auto start = now_;
    bool looks = true;
    for (int round = 0; round < max_rounds && more_ && now_ - start < longest_dispatch; ++round) {
        const bool found = looks && serve_watches(held, loop);
        // What another thread arms before it removes a watch, libvirt's queue of events, is served before
        // the observers hear of the removal: what is deferred after this look has to wait for the next.
        const bool has_deferred = deferred_.take();
        bool progress = found;
        progress |= serve_timeouts(held, loop);
        progress |= has_deferred && run_deferred(held);
        more_ = progress && loop_.get() == &loop;
        if (found && round == 1)
            vain_second_looks_ = 0;
        // Where no file was ready, what is always ready has two turns for each look at the files.
        looks = found ? round > 0 || takes_second_look() : !looks;
    }
}

/// A file that is ready again by the time its callback returns is seen by a second look, which costs one
/// system call; without it we go to sleep and are woken, which costs three. Where it has been in vain for
/// some time, as with what comes key by key, only every so often one is taken.
bool event_registry::takes_second_look() noexcept
{
    constexpr unsigned patience = 4;
    constexpr unsigned pause = 8;
    const auto n = vain_second_looks_++;
    return n < patience || n % pause == 0;
}

void event_registry::reap()
{
    lock held(mutex_);
    if (loop_ || dispatching_)
        return;
    dispatch_scope scope(*this, held, nullptr);
    while (!loop_ && run_deferred(held))
        ;
}

void event_registry::end_dispatch(lock& held, const loop_backend* loop) noexcept
{
    dispatching_ = false;
    dispatcher_ = {};
    forget_called_timer_locked(); // Its callback may have thrown.
    const auto bound = loop_;
    if (!bound || bound.get() != loop) {
        more_ = false;
        close_tables_if_unused();
        wake(held, request_wake_up_locked());
        return;
    }
    if (has_work_locked()) {
        phase_ = phase::posted;
        held.unlock();
        post_dispatch(bound);
        return;
    }
    if (!is_idle_locked()) {
        timeouts_.arm();
        timeouts_.disarm_if_unused();
        phase_ = phase::awaiting;
        const int set = watches_.epoll_fd();
        held.unlock();
        if (!bound->await_set(set))
            try_again_later(phase::awaiting);
        return;
    }
    phase_ = phase::idle;
    held.unlock();
    bound->idle();
}

void event_registry::forget_called_timer_locked() noexcept
{
    called_timer_ = 0;
    kept_alive_ = nullptr;
}

template <class Call>
void event_registry::call_out(
    lock& held, loop_backend& loop, int id, int fd, std::shared_ptr<connection_socket> owner, Call call)
{
    ++dispatched_;
    held.unlock();
    call();
    // From when the last one ended: reading the clock once more would cost a twelfth of a short turn.
    const auto start = std::exchange(now_, timeout_table::clock::now());
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

bool event_registry::serve_watches(lock& held, loop_backend& loop)
{
    const int set = watches_.epoll_fd();
    held.unlock();
    const int count = ::epoll_wait(set, events_.data(), static_cast<int>(events_.size()), 0);
    held.lock();

    ready_watches_.clear();
    for (int i = 0; i < count; ++i) {
        const auto& event = events_[static_cast<std::size_t>(i)];
        if (event.data.u64 != watch_table::wake_tag)
            watches_.collect(event, ready_watches_);
    }
    watches_.collect_always_ready(ready_watches_);
    if (watches_.needs_rebuild()) {
        held.unlock();
        loop.forget_set();
        held.lock();
        watches_.rebuild(wake_fds());
    }

    for (std::size_t i = 0; i < ready_watches_.size() && loop_.get() == &loop; ++i) {
        serve(held, loop, ready_watches_[i]);
    }
    return !ready_watches_.empty();
}

void event_registry::serve(lock& held, loop_backend& loop, const watch_table::ready record)
{
    const auto* w = watches_.find(record);
    if (w && record.writable)
        notify(held, *std::shared_ptr(w->socket), &socket_observer::on_writable);
    w = watches_.find(record);
    if (w && record.hung_up)
        notify(held, *std::shared_ptr(w->socket), &socket_observer::on_hung_up);
    w = watches_.find(record);
    constexpr int always = VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;
    const int events = w && w->events != 0 ? record.events & (w->events | always) : 0;
    if (events == 0 || w->reading != watch_table::flow::open)
        return;
    const auto socket = w->socket;
    call_out(
        held, loop, w->id, w->fd, w->owner,
        [callback = w->callback, id = w->id, fd = w->fd, events, opaque = w->opaque] {
            callback(id, fd, events, opaque);
        });
    if (socket)
        notify(held, *socket, &socket_observer::on_served);
}

/// Keeps the daemon content without reading.
void event_registry::keep_alive_unread(lock& held, loop_backend& loop, const connection_socket& socket)
{
    const auto* w = watches_.find(socket.watch);
    // Under the lock: a thread that is about to send or call disables the watch first.
    if (w->events == VIR_EVENT_HANDLE_READABLE)
        return send_pong(socket);
    // What libvirt has to send by itself, an answer to a PING, will do as well; told of nothing else it reads
    // nothing.
    if (w->events & VIR_EVENT_HANDLE_WRITABLE)
        call_out(
            held, loop, w->id, w->fd, w->owner,
            [callback = w->callback, id = w->id, fd = w->fd, opaque = w->opaque] {
                callback(id, fd, VIR_EVENT_HANDLE_WRITABLE, opaque);
            });
}

bool event_registry::serve_timeouts(lock& held, loop_backend& loop)
{
    bool served = false;
    const auto call = [&](timeout_table::timeout& t) {
        called_timer_ = t.id;
        kept_alive_ = t.socket.get();
        call_out(held, loop, t.id, -1, t.owner, [callback = t.callback, id = t.id, opaque = t.opaque] {
            callback(id, opaque);
        });
        forget_called_timer_locked();
    };
    const auto keep_alive = [&](timeout_table::timeout& t) {
        const auto socket = t.socket;
        const int id = t.id;
        if (socket->fd >= 0) {
            if (is_silent_locked(t))
                return interrupt_locked(*socket, connection_socket::end::silence);
            if (room_to_send(*socket, 1) == 0) // It would block us.
                return;
            if (keeps_unread_locked(*socket))
                return keep_alive_unread(held, loop, *socket);
        }
        notify(held, *socket, &socket_observer::on_sending);
        if (auto* still = loop_.get() == &loop ? timeouts_.find(id) : nullptr) {
            call(*still);
            notify(held, *socket, &socket_observer::on_served); // libvirt reads while it writes.
        }
    };
    const auto serve = [&](timeout_table::timeout& t) {
        served = true;
        if (t.socket)
            keep_alive(t);
        else
            call(t);
    };
    if (timeouts_.has_deadlines()) {
        const auto now = now_;
        while (loop_.get() == &loop) {
            auto* t = timeouts_.next_due(now);
            if (!t)
                break;
            serve(*t);
        }
    }
    ready_timeouts_.clear();
    timeouts_.collect_ready(ready_timeouts_);
    for (std::size_t i = 0; i < ready_timeouts_.size() && loop_.get() == &loop; ++i) {
        if (auto* t = timeouts_.find_ready(ready_timeouts_[i]))
            serve(*t);
    }
    return served;
}

bool event_registry::run_deferred(lock& held)
{
    if (!deferred_.take())
        return false;
    held.unlock();
    deferred_.run();
    now_ = timeout_table::clock::now();
    held.lock();
    return true;
}

} // namespace avirt::detail
