// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/loop_interface.hpp"
#include "loop/deferred_queue.hpp"
#include "loop/timeout_table.hpp"
#include "loop/watch_table.hpp"

#include <avirt/event_loop_options.hpp>
#include <avirt/event_loop_stats.hpp>

#include <array>
#include <memory>
#include <mutex>
#include <thread>

namespace avirt::detail {

/// What the registry needs of the loop that is bound to it. Both may be called from any thread, with
/// libvirt's locks held.
class loop_backend
{
public:
    /// Calls event_registry::dispatch() soon, from the execution context; false: there is no memory for it.
    virtual bool post_dispatch() noexcept = 0;
    /// Calls event_registry::dispatch() when the set is readable; false: there is no memory for it. Called
    /// only by a dispatch.
    virtual bool await_set(int epoll_fd) noexcept = 0;
    /// The set is about to be closed. Called only by a dispatch.
    virtual void forget_set() noexcept = 0;
    /// Nothing is registered or pending any more. Called only by a dispatch.
    virtual void idle() = 0;
    virtual const event_loop_options& options() const noexcept = 0;

protected:
    ~loop_backend() = default;
};

/// The table of libvirt's watches and timeouts: one for the process, as libvirt has one event
/// implementation for the process. Its lock is a leaf: nothing is called with it held, neither libvirt nor
/// the application (docs/libvirt.md, "The six callbacks").
///
/// One thread at a time dispatches: a handler of the bound loop's context, or a thread of the worker pool
/// that runs free callbacks while no loop is bound.
class event_registry final : public loop_interface
{
public:
    /// How the bound loop comes to dispatch, when it does not already.
    enum class phase { idle, awaiting, posted };

    static event_registry& instance();

    /// Makes libvirt use this registry; throws error::foreign_event_loop, error::event_loop_in_use. Calls
    /// post_dispatch(), at once or when whoever dispatches has ended.
    void bind(std::shared_ptr<loop_backend> loop);
    void unbind(const loop_backend& loop) noexcept;
    bool is_bound() const noexcept;

    // libvirt's six.
    int add_handle(int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free);
    void update_handle(int watch, int events) noexcept;
    int remove_handle(int watch) noexcept;
    int add_timeout(int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free);
    void update_timeout(int timer, int interval) noexcept;
    int remove_timeout(int timer) noexcept;
    /// A timeout of avirt's own; with no loop bound it waits for the next.
    int add_own_timeout(
        int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) noexcept;

    /// A forked child is to hear nothing of that watch: what it leads to is the parent's.
    void keep_from_children(int watch) noexcept;

    // A connection's socket. Each does nothing where libvirt does not watch one (any more).

    /// Has the observer hear of it, if it does not already; dead ones are forgotten in passing.
    void observe(connection_socket& socket, std::weak_ptr<socket_observer> observer);
    /// Keeps what comes in the socket, until it is resumed.
    void pause(const connection_socket& socket) noexcept;
    void resume(const connection_socket& socket) noexcept;
    /// Tells the observers, once, when the socket can be written.
    void await_writable(const connection_socket& socket) noexcept;
    /// Shuts the socket down: whoever is stuck in libvirt on this connection returns, and the connection is
    /// lost (docs/libvirt.md, "A connection's socket").
    void interrupt(connection_socket& socket) noexcept;
    /// The same, unless anything but the connection's owner uses it: then after its last user has gone.
    void interrupt_unless_used(connection_socket& socket) noexcept;
    /// The same, if its last reference is being dropped.
    void interrupt_closing(connection_socket& socket) noexcept;

    // What is under way on a connection that is not in use has to end soon: see patience.hpp.
    void begin_use(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_use(const std::shared_ptr<connection_socket>& socket) noexcept;
    void begin_work(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_work(const std::shared_ptr<connection_socket>& socket) noexcept;
    void begin_closing(const std::shared_ptr<connection_socket>& socket) noexcept;
    void end_closing(const std::shared_ptr<connection_socket>& socket) noexcept;
    /// The application has it from now on.
    void share(const std::shared_ptr<connection_socket>& socket) noexcept;

    /// Calls function(argument) soon, on a clean stack, while no callback of libvirt's runs: what is removed
    /// from libvirt in there cannot race with its own dispatch.
    void defer(virFreeCallback function, void* argument);

    // loop_interface: what core asks of the loop.
    void work_changed() noexcept override;
    bool call_after(std::chrono::milliseconds delay, void (*function)()) noexcept override;
    void release(
        void (*free)(void*), void* object, const std::function<void()>& before_wait) noexcept override;

    /// Serves what is ready, for a bounded number of rounds. @p due says how this call came about: a call
    /// that was overtaken by others does nothing.
    void dispatch(loop_backend& loop, phase due);
    /// Whether the calling thread is inside dispatch().
    bool is_dispatching_here() const noexcept;
    /// Runs the free callbacks, where no loop is bound to do it.
    void reap();
    /// Has the bound loop look again, also where nothing happened.
    void nudge() noexcept;

    bool is_idle() const noexcept;
    event_loop_stats stats() const noexcept;

    /// In the child, from the context's notify_fork: gives it a set of its own.
    void after_fork_in_child();

private:
    event_registry() = default;

    enum class wake_up { none, post, signal, reap };

    using lock = std::unique_lock<std::mutex>;

    void install();
    void open_tables();
    void own_tables();
    void close_tables_if_unused() noexcept;
    std::array<int, 2> wake_fds() const noexcept;

    bool is_idle_locked() const noexcept;
    bool has_work_locked() noexcept;
    wake_up timeouts_changed_locked() noexcept;
    wake_up request_wake_up_locked() noexcept;
    void wake(lock& held, wake_up how) noexcept;
    void remove(lock& held, deferred_queue::call free, std::uint32_t room) noexcept;
    void post_dispatch(const std::shared_ptr<loop_backend>& loop) noexcept;
    void try_again_later(phase failed) noexcept;

    bool found_locked(socket_search& search, int watch) noexcept;
    void update_close_deadline_locked(const std::shared_ptr<connection_socket>& socket) noexcept;
    void update_close_deadline(lock& held, const std::shared_ptr<connection_socket>& socket) noexcept;
    void close_deadline_expired(int timer) noexcept;
    void found_socket_locked(connection_socket& socket, int watch, int fd) noexcept;
    void interrupt_locked(connection_socket& socket, connection_socket::end why) noexcept;
    bool lose_locked(const watch_table::watch& removed) noexcept;
    bool is_silent_locked(const timeout_table::timeout& keepalive) noexcept;
    bool keeps_unread_locked(const connection_socket& socket) noexcept;
    void keep_alive_unread(lock& held, loop_backend& loop, const connection_socket& socket);
    void notify(lock& held, const connection_socket& socket, void (socket_observer::*event)());

    struct dispatch_scope;
    bool takes_second_look() noexcept;
    void end_dispatch(lock& held, const loop_backend* loop) noexcept;
    bool serve_watches(lock& held, loop_backend& loop);
    void serve(lock& held, loop_backend& loop, watch_table::ready record);
    bool serve_timeouts(lock& held, loop_backend& loop);
    void forget_called_timer_locked() noexcept;
    bool run_deferred(lock& held);
    template <class Call>
    void call_out(
        lock& held, loop_backend& loop, int id, int fd, std::shared_ptr<connection_socket> owner, Call call);

    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_any_child();

    mutable std::mutex mutex_;
    watch_table watches_;
    timeout_table timeouts_;
    std::shared_ptr<unique_fd> wake_fd_; // shared with whoever is about to signal it
    deferred_queue deferred_;
    std::size_t own_timeouts_ = 0;

    std::shared_ptr<loop_backend> loop_;
    phase phase_ = phase::idle;
    bool signalled_ = false;
    bool dispatching_ = false;
    bool disowned_ = false; // forked: the fds are the parent's too
    bool more_ = false;     // the last dispatch ended with its budget
    std::thread::id dispatcher_;
    std::thread::id last_dispatcher_;

    // Of the dispatching thread alone.
    std::vector<watch_table::ready> ready_watches_;
    std::vector<timeout_table::ready> ready_timeouts_;
    std::vector<epoll_event> events_;
    std::vector<std::shared_ptr<socket_observer>> notified_;
    int called_timer_ = 0;
    timeout_table::clock::time_point now_{}; // when the latest callback returned
    unsigned vain_second_looks_ = 0;
    const connection_socket* kept_alive_ = nullptr; // whose keepalive timer that is, if it is one

    std::uint64_t dispatched_ = 0;
    std::chrono::nanoseconds longest_callback_{0};
};

} // namespace avirt::detail
