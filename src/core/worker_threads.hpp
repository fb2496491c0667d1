// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/worker_job.hpp"

#include <avirt/error.hpp>

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace avirt::detail {

/// One thread of the worker_pool.
struct worker
{
    std::thread thread;
    std::condition_variable wake;
    job_ptr next;         // the job that the thread is to run
    bool watches = false; // The thread is to watch for stuck jobs.

    bool has_task() const noexcept
    {
        return next || watches;
    }
};

/// The threads of the worker_pool: a thread is busy or idle. Guarded by the pool's lock.
class worker_threads
{
public:
    using iterator = std::list<worker>::iterator;
    using lock = std::unique_lock<std::mutex>;

    std::size_t busy() const noexcept
    {
        return busy_.size();
    }

    std::size_t size() const noexcept
    {
        return busy_.size() + idle_.size();
    }

    /// Makes an idle thread busy and wakes it. Returns null if no thread is idle.
    worker* take_idle() noexcept;

    /// Starts a busy thread that calls work(its iterator), with all signals blocked. Returns null, and why,
    /// if no thread can be created.
    worker* start(const std::function<void(iterator)>& work, error_code& why) noexcept;

    /// Makes the calling thread idle until it is taken, until @p must_stop, or for a few seconds. Returns
    /// with the thread busy, unless @p must_stop.
    void rest(lock& held, iterator self, const bool& must_stop);

    /// Removes the calling thread, which ends.
    void remove(iterator self);

    void wake_idle() noexcept;
    void detach_busy();
    void join_idle(lock& held);

private:
    std::list<worker> busy_;
    std::list<worker> idle_; // the one that became idle last comes first
};

} // namespace avirt::detail
