// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace avirt::detail {

/// The threads on which libvirt may block: one pool for the process.
///
/// A job that may not return for long can be abandoned: it counts against nothing any more, and the end of
/// the process does not wait for it. Jobs that end something (finish, abort, close) are urgent: they never
/// wait for a place behind calls that may be stuck. Workers block all signals.
///
/// A forked child has a pool of its own. The jobs of its parent's are nothing to it: none of them will ever
/// return there.
class worker_pool
{
    struct worker
    {
        std::thread thread;
        bool abandoned = false; // The job that it runs is.
        bool busy = false;
    };

public:
    class job
    {
        friend class worker_pool;
        enum class state { queued, running, abandoned, done };

        std::function<void()> function_;
        const worker_pool* pool_ = nullptr; // A forked child has another.
        worker* worker_ = nullptr;
        state state_ = state::queued;
        bool counted_ = true;
        bool is_normal_ = true;
    };

    enum class place { normal, urgent };

    static worker_pool& instance();

    void set_limit(std::size_t threads) noexcept;

    /// The loop is not idle until the job has returned or is abandoned.
    std::shared_ptr<job> submit(std::function<void()> function, place p = place::normal);
    /// For work that the loop itself depends on.
    void submit_uncounted(std::function<void()> function);
    /// Drops a job that has not begun; false where it has.
    bool withdraw(const std::shared_ptr<job>& j) noexcept;
    /// The job is not worth waiting for. Returns whether it had not begun, and was dropped.
    bool abandon(const std::shared_ptr<job>& j) noexcept;

    struct statistics
    {
        std::size_t running = 0, queued = 0, abandoned = 0;
    };

    statistics stats() const noexcept;

private:
    using worker_list = std::list<worker>;
    using lock = std::unique_lock<std::mutex>;

    worker_pool() = default;

    void enqueue(std::shared_ptr<job> j, place p);
    bool needs_worker_locked(place p) const noexcept;
    void start_worker_locked();
    std::shared_ptr<job> next_locked();
    void finished_locked(const job& j) noexcept;
    void work(worker_list::iterator self);
    void run(lock& held, worker_list::iterator self, std::shared_ptr<job> j);
    void quiesce() noexcept;

    bool is_parents(const job& j) const noexcept;
    static void after_fork_in_any_child();

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<job>> urgent_;
    std::deque<std::shared_ptr<job>> queue_;
    worker_list workers_;
    std::size_t idle_ = 0;
    std::size_t running_ = 0;
    std::size_t running_normal_ = 0;
    std::size_t abandoned_ = 0;
    std::size_t limit_ = 16;
    bool stopping_ = false;
};

} // namespace avirt::detail
