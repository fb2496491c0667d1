// SPDX-License-Identifier: BSL-1.0
#include "event_registry.hpp"

#include "worker_pool.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/system/system_error.hpp>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace avirt::detail {
namespace {

/// Rounds of one dispatch before other handlers of the context have their turn. A round costs a system
/// call, a dispatch two more: sixteen keep the share of those small.
constexpr int max_rounds = 16;
constexpr std::size_t events_per_round = 64;

thread_local bool probe_arrived = false;

void probe(int, void*) {}

/// Whether libvirt's calls arrive here: it takes the first implementation and ignores every other, without
/// a word (docs/libvirt.md, "Registration").
bool is_ours()
{
    probe_arrived = false;
    const int id = virEventAddTimeout(-1, probe, nullptr, nullptr);
    if (!probe_arrived && id >= 0)
        virEventRemoveTimeout(id);
    virResetLastError();
    return probe_arrived;
}

std::shared_ptr<unique_fd> make_wake_fd()
{
    auto fd = std::make_shared<unique_fd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!*fd)
        throw boost::system::system_error(errno, boost::system::system_category(), "eventfd");
    return fd;
}

void signal(const unique_fd& fd) noexcept
{
    // Nobody reads it: it is watched edge-triggered, and full only after 2^64 signals.
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd.get(), &one, sizeof one);
}

} // namespace

event_registry& event_registry::instance()
{
    // Never destroyed: libvirt calls it until the process is gone.
    static auto& registry = *[] {
        auto* r = new event_registry;
        ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_any_child);
        return r;
    }();
    return registry;
}

void event_registry::install()
{
    static const bool ours = [] {
        if (virInitialize() < 0)
            throw_last_error();
        virEventRegisterImpl(
            [](int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free) {
                return instance().add_handle(fd, events, callback, opaque, free);
            },
            [](int watch, int events) { instance().update_handle(watch, events); },
            [](int watch) { return instance().remove_handle(watch); },
            [](int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
                return instance().add_timeout(interval, callback, opaque, free);
            },
            [](int timer, int interval) { instance().update_timeout(timer, interval); },
            [](int timer) { return instance().remove_timeout(timer); });
        return is_ours();
    }();
    if (!ours)
        throw exception(error::foreign_event_loop, {});
}

std::array<int, 2> event_registry::wake_fds() const noexcept
{
    return {wake_fd_->get(), timeouts_.timer_fd()};
}

void event_registry::open_tables()
{
    if (!wake_fd_)
        wake_fd_ = make_wake_fd();
    timeouts_.open();
    watches_.open(wake_fds());
}

void event_registry::close_tables_if_unused() noexcept
{
    if (loop_ || dispatching_ || watches_.size() != 0 || timeouts_.size() != 0)
        return;
    watches_.close();
    timeouts_.close();
    wake_fd_.reset();
}

void event_registry::bind(std::shared_ptr<loop_backend> loop)
{
    install();
    lock held(mutex_);
    if (loop_)
        throw exception(error::event_loop_in_use, {});
    open_tables();
    if (disowned_)
        own_tables();
    events_.resize(events_per_round);
    loop_ = std::move(loop);
    phase_ = phase::idle;
    signalled_ = false;
    wake(held, request_wake_up_locked()); // Also where there is nothing to do: the loop waits for its turn.
}

void event_registry::unbind(const loop_backend& loop) noexcept
{
    std::shared_ptr<loop_backend> last;
    lock held(mutex_);
    if (loop_.get() != &loop)
        return;
    last = std::move(loop_);
    loop_.reset();
    phase_ = phase::idle;
    close_tables_if_unused();
    wake(held, request_wake_up_locked());
}

bool event_registry::is_bound() const noexcept
{
    lock held(mutex_);
    return loop_ != nullptr;
}

bool event_registry::is_idle_locked() const noexcept
{
    return watches_.size() == 0 && timeouts_.size() == 0 && deferred_.size() == 0 && holds_ == 0;
}

bool event_registry::has_work_locked() noexcept
{
    return more_ || deferred_.size() != 0 || timeouts_.has_ready() || watches_.has_always_ready();
}

event_registry::wake_up event_registry::request_wake_up_locked() noexcept
{
    if (dispatching_) // It looks again when it ends.
        return wake_up::none;
    if (!loop_)
        return deferred_.size() == 0 ? wake_up::none : wake_up::reap;
    switch (phase_) {
    case phase::idle:
        phase_ = phase::posted;
        return wake_up::post;
    case phase::awaiting:
        return std::exchange(signalled_, true) ? wake_up::none : wake_up::signal;
    case phase::posted:
        break;
    }
    return wake_up::none;
}

// Releases the lock first: the woken thread would run straight into it.
void event_registry::wake(lock& held, wake_up how) noexcept
{
    if (how == wake_up::none) {
        held.unlock();
        return;
    }
    const auto loop = how == wake_up::post ? loop_ : nullptr;
    const auto fd = how == wake_up::signal && !disowned_ ? wake_fd_ : nullptr;
    held.unlock();
    if (loop)
        loop->post_dispatch();
    else if (fd)
        signal(*fd);
    else if (how == wake_up::reap)
        worker_pool::instance().submit_uncounted([] { instance().reap(); });
}

int event_registry::add_handle(
    int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free)
try {
    lock held(mutex_);
    if (!loop_ || !callback)
        return -1;
    const int id = watches_.add(
        {.fd = fd,
         .events = events,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .link = link_scope::current(),
         .owner = naming_scope::current()});
    if (id < 0)
        return -1;
    if (const auto& link = link_scope::current()) {
        link->watch = id;
        link->socket = fd;
        link->is_remote = true;
        if (link->ended_by != connection_link::end::none) // Interrupted before its socket was known.
            ::shutdown(fd, SHUT_RDWR);
    }
    wake(
        held,
        phase_ == phase::idle || watches_.has_always_ready() ? request_wake_up_locked() : wake_up::none);
    return id;
}
catch (const std::bad_alloc&) {
    return -1; // No exception crosses libvirt's frames.
}

void event_registry::update_handle(int watch, int events) noexcept
{
    lock held(mutex_);
    // libvirt disables a connection's watch while it sends or calls. On the loop's own thread no event can
    // come in between, where one thread runs it; elsewhere the answer would wake the loop in vain.
    const bool is_brief = last_dispatcher_ == std::this_thread::get_id();
    watches_.update(watch, events, is_brief);
    wake(held, watches_.has_always_ready() ? request_wake_up_locked() : wake_up::none);
}

int event_registry::remove_handle(int watch)
{
    lock held(mutex_);
    const auto removed = watches_.remove(watch);
    if (removed.id == 0)
        return -1;
    lose_locked(removed);
    // A connection that leads through a command waits for its end there.
    remove(held, removed.free, removed.opaque, removed.link != nullptr);
    return 0;
}

int event_registry::add_timeout(
    int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free)
try {
    if (callback == &probe)
        probe_arrived = true;
    lock held(mutex_);
    if (!loop_ || !callback)
        return -1;
    const int id = timeouts_.add(
        {.interval = interval,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .link = link_scope::current(),
         .owner = naming_scope::current()});
    wake(held, timeouts_changed_locked());
    return id;
}
catch (const std::bad_alloc&) {
    return -1;
}

void event_registry::update_timeout(int timer, int interval) noexcept
{
    lock held(mutex_);
    timeouts_.update(timer, interval, called_timer_ == timer && dispatcher_ == std::this_thread::get_id());
    wake(held, timeouts_changed_locked());
}

int event_registry::remove_timeout(int timer)
{
    lock held(mutex_);
    const auto removed = timeouts_.remove(timer);
    if (removed.id == 0)
        return -1;
    remove(held, removed.free, removed.opaque, false);
    return 0;
}

event_registry::wake_up event_registry::timeouts_changed_locked() noexcept
{
    if (dispatching_ || !loop_)
        return wake_up::none;
    if (phase_ == phase::idle || timeouts_.has_ready())
        return request_wake_up_locked();
    if (phase_ == phase::awaiting && !disowned_)
        timeouts_.arm(); // In place: the sleeping loop need not know.
    return wake_up::none;
}

void event_registry::remove(lock& held, virFreeCallback free, void* opaque, bool blocks)
{
    if (free)
        deferred_.push({free, opaque, blocks});
    close_tables_if_unused();
    wake(held, free || is_idle_locked() ? request_wake_up_locked() : wake_up::none);
}

void event_registry::defer(virFreeCallback function, void* argument)
{
    lock held(mutex_);
    deferred_.push({function, argument});
    wake(held, request_wake_up_locked());
}

void event_registry::hold() noexcept
{
    lock held(mutex_);
    ++holds_;
    wake(held, holds_ == 1 && loop_ ? request_wake_up_locked() : wake_up::none);
}

void event_registry::release() noexcept
{
    lock held(mutex_);
    --holds_;
    wake(held, is_idle_locked() ? request_wake_up_locked() : wake_up::none);
}

void event_registry::nudge() noexcept
{
    lock held(mutex_);
    wake(held, request_wake_up_locked());
}

void event_registry::observe(connection_link& link, std::weak_ptr<link_observer> observer)
{
    lock held(mutex_);
    std::erase_if(link.observers, [](const auto& o) { return o.expired(); });
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
    if (link.socket >= 0)
        ::shutdown(link.socket, SHUT_RDWR);
}

void event_registry::lose_locked(const watch_table::watch& removed)
{
    const auto& link = removed.link;
    if (!link || link->watch != removed.id)
        return;
    link->watch = 0;
    link->socket = -1;
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

/// libvirt's keepalive timer was due; every message that arrives sets it anew. A PING that the socket does
/// not take would block us, and libvirt does not count the intervals in which it sent none.
bool event_registry::may_ping_locked(const timeout_table::timeout& keepalive) noexcept
{
    auto& link = *keepalive.link;
    int unread = 0;
    const bool is_silent = ::ioctl(link.socket, FIONREAD, &unread) != 0 || unread == 0;
    if (is_silent && link.max_silence != 0 && keepalive.in_a_row > link.max_silence) {
        interrupt_locked(link, connection_link::end::silence);
        return false;
    }
    return room_to_send(link, 1) != 0;
}

/// Calls the observers with the lock released; they may end in there.
void event_registry::notify(lock& held, const connection_link& link, void (link_observer::*event)())
{
    for (const auto& o : link.observers) {
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
    bool looks = true;
    for (int round = 0; round < max_rounds && more_; ++round) {
        const bool found = looks && serve_watches(held, loop);
        bool progress = found;
        progress |= serve_timeouts(held, loop);
        progress |= run_deferred(held);
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

bool event_registry::is_dispatching_here() const noexcept
{
    lock held(mutex_);
    return dispatching_ && dispatcher_ == std::this_thread::get_id();
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
        bound->post_dispatch();
        return;
    }
    if (!is_idle_locked()) {
        timeouts_.arm();
        timeouts_.disarm_if_unused();
        phase_ = phase::awaiting;
        const int set = watches_.epoll_fd();
        held.unlock();
        bound->await_set(set);
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
    lock& held, loop_backend& loop, int id, int fd, std::shared_ptr<connection_link> owner, Call call)
{
    ++dispatched_;
    held.unlock();
    call();
    // From when the last one ended: reading the clock once more would cost a third of all that we do.
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
        notify(held, *std::shared_ptr(w->link), &link_observer::on_writable);
    w = watches_.find(record);
    if (w && record.hung_up)
        notify(held, *std::shared_ptr(w->link), &link_observer::on_hung_up);
    w = watches_.find(record);
    constexpr int always = VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;
    const int events = w && w->events != 0 ? record.events & (w->events | always) : 0;
    if (events == 0 || w->reading != watch_table::flow::open)
        return;
    const auto link = w->link;
    call_out(
        held, loop, w->id, w->fd, w->owner,
        [callback = w->callback, id = w->id, fd = w->fd, events, opaque = w->opaque] {
            callback(id, fd, events, opaque);
        });
    if (link)
        notify(held, *link, &link_observer::on_served);
}

bool event_registry::serve_timeouts(lock& held, loop_backend& loop)
{
    bool served = false;
    const auto call = [&](const timeout_table::timeout& t) {
        served = true;
        if (t.link && t.link->socket >= 0 && !may_ping_locked(t))
            return;
        called_timer_ = t.id;
        kept_alive_ = t.link.get();
        call_out(held, loop, t.id, -1, t.owner, [callback = t.callback, id = t.id, opaque = t.opaque] {
            callback(id, opaque);
        });
        forget_called_timer_locked();
    };
    if (timeouts_.has_deadlines()) {
        const auto now = now_;
        while (loop_.get() == &loop) {
            const auto* t = timeouts_.next_due(now);
            if (!t)
                break;
            call(*t);
        }
    }
    ready_timeouts_.clear();
    timeouts_.collect_ready(ready_timeouts_);
    for (std::size_t i = 0; i < ready_timeouts_.size() && loop_.get() == &loop; ++i) {
        if (const auto* t = timeouts_.find_ready(ready_timeouts_[i]))
            call(*t);
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

bool event_registry::is_idle() const noexcept
{
    lock held(mutex_);
    return is_idle_locked() && !dispatching_;
}

event_loop_stats event_registry::stats() const noexcept
{
    lock held(mutex_);
    event_loop_stats s;
    s.watches = watches_.size();
    s.timeouts = timeouts_.size();
    s.pending_frees = deferred_.size();
    s.dispatched = dispatched_;
    s.longest_callback = longest_callback_;
    return s;
}

void event_registry::before_fork()
{
    // The child gets the tables in one piece.
    instance().mutex_.lock();
}

void event_registry::after_fork_in_parent()
{
    instance().mutex_.unlock();
}

void event_registry::after_fork_in_any_child()
{
    auto& self = instance();
    self.disowned_ = true;
    self.holds_ = 0; // What they are for goes on in the parent alone.
    self.watches_.disown();
    self.mutex_.unlock();
}

void event_registry::after_fork_in_child()
{
    lock held(mutex_);
    if (!disowned_ || !loop_)
        return;
    own_tables();
    if (phase_ == phase::awaiting)
        phase_ = phase::idle;
    wake(held, request_wake_up_locked()); // Also where nothing is left: a drain may wait to be told.
}

// After a fork: files of the child's own in the place of those that it shares with its parent.
void event_registry::own_tables()
{
    wake_fd_ = make_wake_fd();
    timeouts_.close();
    timeouts_.open();
    watches_.rebuild_after_fork(wake_fds());
    disowned_ = false;
    if (dispatching_ && dispatcher_ != std::this_thread::get_id())
        dispatching_ = false; // That thread stayed in the parent.
}

} // namespace avirt::detail
