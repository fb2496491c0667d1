// SPDX-License-Identifier: BSL-1.0
#include "worker_pool.hpp"

#include "event_registry.hpp"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdlib>

namespace avirt::detail {
namespace {

/// New threads inherit the mask: the application's signals are the application's threads' business.
class all_signals_blocked
{
public:
    all_signals_blocked() noexcept
    {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &old_);
    }

    ~all_signals_blocked()
    {
        ::pthread_sigmask(SIG_SETMASK, &old_, nullptr);
    }

private:
    sigset_t old_;
};

std::atomic<worker_pool*> current{nullptr};

} // namespace

worker_pool& worker_pool::instance()
{
    if (auto* pool = current.load(std::memory_order_acquire))
        return *pool;
    static std::mutex mutex;
    const std::lock_guard guard(mutex);
    if (auto* pool = current.load(std::memory_order_acquire))
        return *pool;
    // Never destroyed: handles and connections with static storage may end after it would.
    auto* pool = new worker_pool;
    current.store(pool, std::memory_order_release);
    static const int once = [] {
        ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
        return std::atexit([] { instance().quiesce(); });
    }();
    (void)once;
    return *pool;
}

// The parent's threads are not here, and its lock may be held by one of them.
void worker_pool::after_fork_in_any_child()
{
    current.store(nullptr, std::memory_order_release);
}

void worker_pool::set_limit(std::size_t threads) noexcept
{
    const lock held(mutex_);
    limit_ = threads > 0 ? threads : 1;
}

std::shared_ptr<worker_pool::job> worker_pool::submit(std::function<void()> function, place p)
{
    auto j = std::make_shared<job>();
    j->function_ = std::move(function);
    event_registry::instance().hold();
    enqueue(j, p);
    return j;
}

void worker_pool::submit_uncounted(std::function<void()> function)
{
    auto j = std::make_shared<job>();
    j->function_ = std::move(function);
    j->counted_ = false;
    enqueue(std::move(j), place::urgent);
}

void worker_pool::enqueue(std::shared_ptr<job> j, place p)
{
    j->pool_ = this;
    lock held(mutex_);
    auto& queue = p == place::urgent ? urgent_ : queue_;
    queue.push_back(std::move(j));
    if (needs_worker_locked(p))
        start_worker_locked();
    held.unlock();
    wake_.notify_one();
}

bool worker_pool::needs_worker_locked(place p) const noexcept
{
    // A worker that was woken counts as idle until it runs: compare with all that waits.
    if (idle_ >= urgent_.size() + queue_.size())
        return false;
    // Workers with urgent jobs take no place from the others, nor do those that are to take one.
    const auto urgent = running_ - running_normal_ + urgent_.size();
    return p == place::urgent || workers_.size() < limit_ + abandoned_ + urgent;
}

void worker_pool::start_worker_locked()
{
    const all_signals_blocked guard;
    workers_.emplace_back();
    const auto self = std::prev(workers_.end());
    try {
        self->thread = std::thread([this, self] { work(self); });
        if (stopping_) // Nobody is left to join it.
            self->thread.detach();
    }
    catch (const std::system_error&) {
        workers_.pop_back(); // The other workers get to it.
        if (workers_.empty())
            throw;
    }
}

void worker_pool::work(worker_list::iterator self)
{
    lock held(mutex_);
    while (!self->abandoned) {
        if (auto j = next_locked()) {
            run(held, self, std::move(j));
        }
        else if (stopping_) {
            return;
        }
        else {
            ++idle_;
            wake_.wait(held);
            --idle_;
        }
    }
    --abandoned_;
    if (stopping_)
        return; // The list is being gone through.
    if (self->thread.joinable())
        self->thread.detach();
    workers_.erase(self);
}

std::shared_ptr<worker_pool::job> worker_pool::next_locked()
{
    // Urgent jobs may have started more workers than the limit.
    const bool is_urgent = !urgent_.empty();
    auto& queue = is_urgent ? urgent_ : queue_;
    if (queue.empty() || (!is_urgent && running_normal_ >= limit_))
        return nullptr;
    auto j = std::move(queue.front());
    queue.pop_front();
    j->is_normal_ = !is_urgent;
    return j;
}

void worker_pool::run(lock& held, worker_list::iterator self, std::shared_ptr<job> j)
{
    j->state_ = job::state::running;
    j->worker_ = &*self;
    self->busy = true;
    ++running_;
    running_normal_ += j->is_normal_ ? 1u : 0u;
    held.unlock();
    j->function_();
    j->function_ = nullptr; // What it holds ends here, before the loop may be idle.
    held.lock();
    self->busy = false;
    if (j->state_ == job::state::running) {
        finished_locked(*j);
        const bool counted = j->counted_;
        j->state_ = job::state::done;
        if (counted) {
            held.unlock();
            event_registry::instance().release();
            held.lock();
        }
    }
    changed_.notify_all();
}

void worker_pool::finished_locked(const job& j) noexcept
{
    --running_;
    running_normal_ -= j.is_normal_ ? 1u : 0u;
}

bool worker_pool::is_parents(const job& j) const noexcept
{
    return j.pool_ != this;
}

bool worker_pool::withdraw(const std::shared_ptr<job>& j) noexcept
{
    if (is_parents(*j))
        return true;
    std::function<void()> dropped; // What it holds ends outside the lock.
    {
        const lock held(mutex_);
        if (j->state_ != job::state::queued)
            return false;
        std::erase(queue_, j);
        std::erase(urgent_, j);
        dropped.swap(j->function_);
        j->state_ = job::state::abandoned;
    }
    dropped = nullptr;
    event_registry::instance().release();
    changed_.notify_all();
    return true;
}

bool worker_pool::abandon(const std::shared_ptr<job>& j) noexcept
{
    if (withdraw(j))
        return true;
    {
        const lock held(mutex_);
        if (j->state_ != job::state::running)
            return false;
        finished_locked(*j);
        ++abandoned_;
        j->worker_->abandoned = true;
        j->state_ = job::state::abandoned;
        if (!stopping_ && needs_worker_locked(place::normal))
            start_worker_locked();
    }
    event_registry::instance().release();
    changed_.notify_all();
    wake_.notify_one(); // There is room for another.
    return false;
}

worker_pool::statistics worker_pool::stats() const noexcept
{
    const lock held(mutex_);
    return {running_, queue_.size() + urgent_.size(), abandoned_};
}

/// At the end of the process: what is being ended is ended properly, so that a daemon sees its clients go.
/// Calls that were not cancelled may never return: nobody waits for those, and not for ever for the others.
void worker_pool::quiesce() noexcept
{
    constexpr std::chrono::seconds patience{5};
    std::deque<std::shared_ptr<job>> dropped; // What they hold ends outside the lock.
    lock held(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
    wake_.notify_all();
    changed_.wait_for(held, patience, [&] { return urgent_.empty() && running_ == running_normal_; });
    for (auto& w : workers_) {
        if (!w.thread.joinable())
            continue;
        if (w.busy) {
            w.thread.detach();
            continue;
        }
        held.unlock();
        w.thread.join();
        held.lock();
    }
}

} // namespace avirt::detail
