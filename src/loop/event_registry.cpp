// SPDX-License-Identifier: BSL-1.0
#include "loop/event_registry.hpp"

#include "core/fork_gate.hpp"
#include "core/worker_pool.hpp"
#include "loop/close_deadline.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/system/system_error.hpp>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace avirt::detail {
namespace {

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

/// Made in advance, and given back unless it is kept.
class reserved_room
{
public:
    reserved_room(deferred_queue& queue, std::size_t count) : queue_(queue), count_(count)
    {
        queue_.reserve(count);
    }

    ~reserved_room()
    {
        queue_.unreserve(count_);
    }

    reserved_room(const reserved_room&) = delete;
    reserved_room& operator=(const reserved_room&) = delete;

    void keep() noexcept
    {
        count_ = 0;
    }

private:
    deferred_queue& queue_;
    std::size_t count_;
};

} // namespace

event_registry& event_registry::instance()
{
    // Never destroyed: libvirt calls it until the process is gone.
    static auto& registry = *[] {
        auto* r = new event_registry;
        loop_interface::set(*r);
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
    return watches_.size() == 0 && timeouts_.size() == 0 && deferred_.size() == 0
        && !worker_pool::instance().holds_loop();
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
        post_dispatch(loop);
    else if (fd)
        signal(*fd);
    else if (how == wake_up::reap)
        worker_pool::instance().post([] { instance().reap(); }, worker_pool::keeps_loop::no);
}

void event_registry::post_dispatch(const std::shared_ptr<loop_backend>& loop) noexcept
{
    if (!loop->post_dispatch())
        try_again_later(phase::posted);
}

/// There was no memory for the loop to be woken.
void event_registry::try_again_later(phase failed) noexcept
{
    {
        const lock held(mutex_);
        if (phase_ != failed)
            return;
        phase_ = phase::idle;
    }
    worker_pool::instance().post(
        [] {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            instance().nudge();
        },
        worker_pool::keeps_loop::no);
}

int event_registry::add_handle(
    int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free)
try {
    lock held(mutex_);
    if (!loop_ || !callback)
        return -1;
    const auto room = (free ? 1u : 0u) + (opening_scope::current() ? 1u : 0u);
    reserved_room reserved(deferred_, room);
    const int id = watches_.add(
        {.fd = fd,
         .events = events,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .socket = opening_scope::current(),
         .owner = owner_scope::current(),
         .room = room});
    if (id < 0)
        return -1;
    reserved.keep();
    added_watch::note(id);
    if (const auto& socket = opening_scope::current()) {
        socket->command = command_behind(fd);
        found_socket_locked(*socket, id, fd);
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
    auto* const search = socket_search::current();
    const bool is_found = search && found_locked(*search, watch);
    wake(held, watches_.has_always_ready() ? request_wake_up_locked() : wake_up::none);
    if (is_found)
        search->on_found();
}

int event_registry::remove_handle(int watch) noexcept
{
    lock held(mutex_);
    const auto removed = watches_.remove(watch);
    if (removed.id == 0)
        return -1;
    const auto room = removed.room - (lose_locked(removed) ? 1u : 0u);
    // A connection that leads through a command waits for its end there.
    remove(held, {removed.free, removed.opaque, removed.socket != nullptr}, room);
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
    const auto room = free ? 1u : 0u;
    reserved_room reserved(deferred_, room);
    const int id = timeouts_.add(
        {.interval = interval,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .socket = opening_scope::current(),
         .owner = owner_scope::current(),
         .room = room});
    reserved.keep();
    wake(held, timeouts_changed_locked());
    return id;
}
catch (const std::bad_alloc&) {
    return -1;
}

int event_registry::add_own_timeout(
    int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) noexcept
try {
    lock held(mutex_);
    const auto room = free ? 1u : 0u;
    reserved_room reserved(deferred_, room);
    const int id = timeouts_.add(
        {.interval = interval,
         .callback = callback,
         .opaque = opaque,
         .free = free,
         .room = room,
         .is_own = true});
    reserved.keep();
    ++own_timeouts_;
    wake(held, timeouts_changed_locked());
    return id;
}
catch (const std::bad_alloc&) {
    return -1;
}

void event_registry::update_timeout(int timer, int interval) noexcept
{
    lock held(mutex_);
    using from = timeout_table::update_from;
    const bool is_its_own = called_timer_ == timer && dispatcher_ == std::this_thread::get_id();
    timeouts_.update(
        timer, interval,
        is_its_own                   ? from::its_callback
            : daemon_wait::is_here() ? from::call
                                     : from::elsewhere);
    wake(held, timeouts_changed_locked());
}

int event_registry::remove_timeout(int timer) noexcept
{
    lock held(mutex_);
    const auto removed = timeouts_.remove(timer);
    if (removed.id == 0)
        return -1;
    own_timeouts_ -= removed.is_own ? 1u : 0u;
    remove(held, {removed.free, removed.opaque}, removed.room);
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

void event_registry::remove(lock& held, deferred_queue::call free, std::uint32_t room) noexcept
{
    const bool has_free = free.function != nullptr;
    if (has_free)
        deferred_.push(std::move(free));
    deferred_.unreserve(room - (has_free ? 1u : 0u));
    close_tables_if_unused();
    wake(held, has_free || is_idle_locked() ? request_wake_up_locked() : wake_up::none);
}

void event_registry::defer(virFreeCallback function, void* argument)
{
    lock held(mutex_);
    deferred_.reserve(1);
    deferred_.push({function, argument});
    wake(held, request_wake_up_locked());
}

void event_registry::work_changed() noexcept
{
    lock held(mutex_);
    const bool is_asleep = loop_ && phase_ == phase::idle; // and would not keep its context running
    wake(held, is_asleep || is_idle_locked() ? request_wake_up_locked() : wake_up::none);
}

bool event_registry::call_after(std::chrono::milliseconds delay, void (*function)()) noexcept
{
    const auto call = [](int timer, void* f) {
        instance().remove_timeout(timer);
        reinterpret_cast<void (*)()>(f)();
    };
    return add_own_timeout(static_cast<int>(delay.count()), call, reinterpret_cast<void*>(function), nullptr)
        >= 0;
}

void event_registry::release(
    void (*free)(void*), void* object, const std::function<void()>& before_wait) noexcept
{
    const closing_scope scope(nullptr, before_wait);
    free(object);
}

void event_registry::nudge() noexcept
{
    lock held(mutex_);
    wake(held, request_wake_up_locked());
}

bool event_registry::is_dispatching_here() const noexcept
{
    lock held(mutex_);
    return dispatching_ && dispatcher_ == std::this_thread::get_id();
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
    s.timeouts = timeouts_.size() - own_timeouts_;
    s.pending_frees = deferred_.size();
    s.dispatched = dispatched_;
    s.longest_callback = longest_callback_;
    return s;
}

void event_registry::keep_from_children(int watch) noexcept
{
    lock held(mutex_);
    if (auto* w = watches_.find(watch))
        w->stays_in_parent = true;
}

void event_registry::before_fork()
{
    // The child gets everything in one piece: first what locks the tables inside its own locks, then they.
    fork_gate::close();
    instance().mutex_.lock();
}

void event_registry::after_fork_in_parent()
{
    instance().mutex_.unlock();
    fork_gate::open_in_parent();
}

void event_registry::after_fork_in_any_child()
{
    auto& self = instance();
    self.disowned_ = true;
    self.watches_.disown();
    self.mutex_.unlock();
    fork_gate::open_in_child();
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
