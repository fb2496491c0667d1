// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace avirt::detail {

class job_lane;
class worker_job;
class worker_pool;

using worker_hook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;
using job_queue = boost::intrusive::list<worker_job>;

/// Something that blocks, for a thread of the worker_pool, which guards it.
class worker_job : public worker_hook
{
    friend class worker_pool;

    enum class state { made, queued, running, abandoned, done };

    std::function<void()> function_;
    std::shared_ptr<job_lane> lane_;     // null: it is urgent
    const worker_pool* pool_ = nullptr;  // A forked child has another.
    job_queue* queue_ = nullptr;         // where it is, or was last
    std::shared_ptr<worker_job> self_{}; // while it is in a queue
    state state_ = state::made;
    bool holds_loop_ = true;
    bool is_spare_ = false;
};

/// What the jobs of one connection have in common. The worker_pool's.
class job_lane : public worker_hook
{
    friend class worker_pool;

    const worker_pool* pool_ = nullptr;
    job_queue waiting_;
    std::size_t running_ = 0; // or ready to
};

/// The threads on which libvirt may block: one pool for the process.
///
/// The jobs of one connection share a lane, in which only so many run at a time; lanes share nothing but the
/// ceiling on the number of threads. A job that ends something (finish, abort, close, release) has no lane:
/// it is urgent, and never waits behind calls that may be stuck.
///
/// A job that may not return for long can be abandoned: it counts against its lane no more, the loop does not
/// wait for it, and neither does the end of the process. Its thread counts as one until it returns.
///
/// Threads block all signals, and end when they have been idle for a few seconds.
///
/// A forked child has a pool of its own. The jobs of its parent's are nothing to it: none of them will ever
/// return there.
class worker_pool
{
public:
    using job = worker_job;
    using job_ptr = std::shared_ptr<job>;

    static worker_pool& instance();

    /// A job, to be submitted once; without a lane it is urgent.
    job_ptr make(std::function<void()> function, std::shared_ptr<job_lane> lane = nullptr);

    /// The loop is not idle until the job has returned or is abandoned. Returns an error if no thread can be
    /// created for the job: then it never runs, unless it is urgent, when it runs as soon as it can.
    error_code submit(const job_ptr& j) noexcept;

    enum class keeps_loop { no, yes };

    /// Runs function on a worker thread soon, urgently. Takes no memory where few such jobs are under way;
    /// false: there is none left for more of them.
    bool post(void (*function)(), keeps_loop keeps) noexcept;

    /// Whether a job is under way that keeps the event loop from being idle.
    bool holds_loop() const noexcept
    {
        return loop_holders_ != 0;
    }

    /// Drops a job that has not begun; false: it has.
    bool withdraw(const job_ptr& j) noexcept;
    /// The loop does not wait any more for the job, which goes on.
    void release_loop(const job_ptr& j) noexcept;
    /// The job is not worth waiting for. Returns whether it had not begun, and was dropped.
    bool abandon(const job_ptr& j) noexcept;

    /// A raised limit starts what waits for it.
    void set_limits(std::size_t jobs_of_lane, std::size_t threads) noexcept;

    struct statistics
    {
        std::size_t running = 0, queued = 0, abandoned = 0, threads = 0;
    };

    statistics stats() const noexcept;

    /// Counts as queued while it lives: a call that waits for another one on its connection, and so is not a
    /// job yet.
    class queue_place
    {
    public:
        queue_place() noexcept;
        ~queue_place();
        queue_place(const queue_place&) = delete;
        queue_place& operator=(const queue_place&) = delete;
    };

private:
    using lane_list = boost::intrusive::list<job_lane>;

    struct worker
    {
        std::thread thread;
        std::condition_variable wake;
        job_ptr next; // what it is to do
    };

    using worker_list = std::list<worker>;
    using lock = std::unique_lock<std::mutex>;

    worker_pool();

    bool is_parents(const job& j) const noexcept;
    void enqueue_locked(const job_ptr& j) noexcept;
    void push_locked(job_queue& queue, const job_ptr& j) noexcept;
    job_ptr pop_locked(job_queue& queue) noexcept;
    bool unqueue_locked(const job_ptr& j) noexcept;
    job_ptr next_locked() noexcept;
    void leave_lane_locked(job& j) noexcept;
    void advance_locked(job_lane& lane) noexcept;
    error_code serve_locked() noexcept;
    error_code start_worker_locked() noexcept;
    void retry_later() noexcept;
    void retry() noexcept;
    void hold_loop() noexcept;
    void let_loop_go() noexcept;

    void work(worker_list::iterator self) noexcept;
    void rest(lock& held, worker_list::iterator self) noexcept;
    void run(lock& held, const job_ptr& j) noexcept;
    void quiesce() noexcept;

    static void after_fork_in_any_child();

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    job_queue urgent_; // They wait for a thread alone.
    job_queue ready_;
    lane_list crowded_; // Their other jobs wait for one of them to return.
    worker_list busy_;
    worker_list idle_; // the latest first
    job_queue spares_; // for post()
    std::atomic<std::size_t> loop_holders_{0};
    std::size_t queued_ = 0;
    std::size_t running_ = 0;
    std::size_t running_urgently_ = 0;
    std::size_t abandoned_ = 0;
    std::size_t jobs_of_lane_ = 16;
    std::size_t max_threads_ = 1024;
    bool retries_ = false;
    bool stopping_ = false;
};

} // namespace avirt::detail
