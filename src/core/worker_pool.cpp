// SPDX-License-Identifier: BSL-1.0
#include "core/worker_pool.hpp"

#include "core/fork_gate.hpp"
#include "core/loop_interface.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <system_error>
#include <utility>

namespace avirt::detail {
namespace {

using namespace std::chrono_literals;

/// How long a thread waits for more to do.
constexpr auto idle_time = 3s;
/// How long the end of the process waits for what is being ended.
constexpr auto patience_at_exit = 5s;
/// Between two attempts to create a thread.
constexpr auto retry_interval = 50ms;
/// Jobs that are there for when there is no memory left.
constexpr int spares = 16;

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

std::atomic<std::size_t> queue_places{0};

} // namespace

worker_pool::worker_pool()
{
    for (int i = 0; i < spares; ++i) {
        auto j = std::make_shared<job>();
        j->is_spare_ = true;
        push_locked(spares_, j);
    }
}

worker_pool& worker_pool::instance()
{
    // Never destroyed: handles and connections with static storage may end after it would.
    static const int once = [] {
        current.store(new worker_pool, std::memory_order_release);
        ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
        return std::atexit([] { instance().quiesce(); });
    }();
    (void)once;
    return *current.load(std::memory_order_acquire);
}

// The parent's threads are not here, and its lock may be held by one of them.
void worker_pool::after_fork_in_any_child()
{
    current.store(new worker_pool, std::memory_order_release);
}

bool worker_pool::is_parents(const job& j) const noexcept
{
    return j.pool_ != this;
}

// Jobs and their queues ------------------------------------------------------------------------------------

worker_pool::job_ptr worker_pool::make(std::function<void()> function, std::shared_ptr<job_lane> lane)
{
    auto j = std::make_shared<job>();
    j->function_ = std::move(function);
    j->lane_ = std::move(lane);
    j->pool_ = this;
    return j;
}

void worker_pool::push_locked(job_queue& queue, const job_ptr& j) noexcept
{
    queue.push_back(*j);
    j->queue_ = &queue;
    j->self_ = j;
}

worker_pool::job_ptr worker_pool::pop_locked(job_queue& queue) noexcept
{
    if (queue.empty())
        return nullptr;
    auto j = std::move(queue.front().self_);
    queue.pop_front();
    return j;
}

void worker_pool::enqueue_locked(const job_ptr& j) noexcept
{
    j->state_ = job::state::queued;
    ++queued_;
    auto* lane = j->lane_.get();
    if (lane && lane->pool_ != this) { // What it had to do before, it had in the parent.
        lane->waiting_.clear();
        lane->running_ = 0;
        lane->pool_ = this;
    }
    if (lane && lane->running_ >= jobs_of_lane_) {
        if (lane->waiting_.empty())
            crowded_.push_back(*lane);
        return push_locked(lane->waiting_, j);
    }
    if (lane)
        ++lane->running_;
    push_locked(lane ? ready_ : urgent_, j);
}

/// Takes a job back that has not begun; false: it has.
bool worker_pool::unqueue_locked(const job_ptr& j) noexcept
{
    if (j->state_ != job::state::queued)
        return false;
    const auto keep = std::move(j->self_);
    j->queue_->erase(j->queue_->iterator_to(*j));
    j->state_ = job::state::made;
    --queued_;
    auto* lane = j->lane_.get();
    if (lane && j->queue_ != &lane->waiting_)
        leave_lane_locked(*j);
    else if (lane && lane->waiting_.empty())
        crowded_.erase(crowded_.iterator_to(*lane));
    return true;
}

/// What the next thread is to do: it has begun by that.
worker_pool::job_ptr worker_pool::next_locked() noexcept
{
    auto j = pop_locked(urgent_);
    if (!j && !stopping_)
        j = pop_locked(ready_);
    if (!j)
        return nullptr;
    --queued_;
    ++running_;
    running_urgently_ += j->lane_ ? 0u : 1u;
    j->state_ = job::state::running;
    return j;
}

void worker_pool::leave_lane_locked(job& j) noexcept
{
    if (!j.lane_)
        return;
    --j.lane_->running_;
    advance_locked(*j.lane_);
}

void worker_pool::advance_locked(job_lane& lane) noexcept
{
    if (lane.waiting_.empty())
        return;
    while (lane.running_ < jobs_of_lane_ && !lane.waiting_.empty()) {
        ++lane.running_;
        push_locked(ready_, pop_locked(lane.waiting_));
    }
    if (lane.waiting_.empty())
        crowded_.erase(crowded_.iterator_to(lane));
}

void worker_pool::hold_loop() noexcept
{
    ++loop_holders_;
    loop_interface::instance().work_changed();
}

void worker_pool::let_loop_go() noexcept
{
    --loop_holders_;
    loop_interface::instance().work_changed();
}

// Threads --------------------------------------------------------------------------------------------------

/// Gives a thread to each job that may run, as long as there are any. Returns why one could not be created.
error_code worker_pool::serve_locked() noexcept
{
    while (!urgent_.empty() || (!ready_.empty() && !stopping_)) {
        if (busy_.size() >= max_threads_ && !stopping_)
            break;
        if (!idle_.empty() && !stopping_) {
            auto& w = idle_.front();
            w.next = next_locked();
            busy_.splice(busy_.end(), idle_, idle_.begin());
            w.wake.notify_one();
        }
        else if (const auto refused = start_worker_locked()) {
            return refused;
        }
    }
    return {};
}

error_code worker_pool::start_worker_locked() noexcept
{
    const all_signals_blocked guard;
    const auto known = busy_.size();
    try {
        const auto self = busy_.emplace(busy_.end());
        self->thread = std::thread([this, self] { work(self); });
        self->next = next_locked();
        if (stopping_) // Nobody is left to join it.
            self->thread.detach();
        return {};
    }
    catch (const std::system_error& e) {
        busy_.resize(known);
        return {e.code().value(), boost::system::system_category()};
    }
    catch (const std::bad_alloc&) {
        busy_.resize(known);
        return make_error_code(boost::system::errc::not_enough_memory);
    }
}

/// Where no thread of ours is left that could come back, nothing else would ever look again.
void worker_pool::retry_later() noexcept
{
    {
        const lock held(mutex_);
        if (std::exchange(retries_, true))
            return;
    }
    if (!loop_interface::instance().call_after(retry_interval, [] { instance().retry(); })) {
        const lock held(mutex_);
        retries_ = false;
    }
}

void worker_pool::retry() noexcept
{
    error_code shortage;
    {
        const lock held(mutex_);
        retries_ = false;
        shortage = serve_locked();
    }
    if (shortage)
        retry_later();
}

void worker_pool::work(worker_list::iterator self) noexcept
{
    lock held(mutex_);
    while (const auto j = std::exchange(self->next, nullptr)) {
        run(held, j);
        self->next = next_locked();
        if (!self->next && !stopping_)
            rest(held, self);
    }
    if (stopping_)
        return; // The lists are being gone through.
    self->thread.detach();
    busy_.erase(self);
}

void worker_pool::rest(lock& held, worker_list::iterator self) noexcept
{
    idle_.splice(idle_.begin(), busy_, self);
    const auto end = std::chrono::steady_clock::now() + idle_time;
    while (!self->next && !stopping_) {
        if (self->wake.wait_until(held, end) == std::cv_status::timeout)
            break;
    }
    if (!self->next && !stopping_) // Otherwise the thread that gave it a job has taken it out.
        busy_.splice(busy_.end(), idle_, self);
}

void worker_pool::run(lock& held, const job_ptr& j) noexcept
{
    held.unlock();
    j->function_();
    {
        const fork_pass pass;
        j->function_ = nullptr; // What it holds ends here, before the loop may be idle.
    }
    held.lock();
    running_urgently_ -= j->lane_ ? 0u : 1u;
    if (std::exchange(j->state_, job::state::done) == job::state::abandoned) {
        --abandoned_;
    }
    else {
        --running_;
        leave_lane_locked(*j);
        if (j->holds_loop_) {
            held.unlock();
            let_loop_go();
            held.lock();
        }
    }
    if (j->is_spare_)
        push_locked(spares_, j);
    changed_.notify_all();
}

// What others ask for --------------------------------------------------------------------------------------

error_code worker_pool::submit(const job_ptr& j) noexcept
{
    if (j->holds_loop_)
        hold_loop();
    error_code shortage;
    bool is_stuck = false;
    bool is_dropped = false;
    {
        const lock held(mutex_);
        enqueue_locked(j);
        shortage = serve_locked();
        is_stuck =
            shortage && j->state_ == job::state::queued && (j->queue_ == &urgent_ || j->queue_ == &ready_);
        is_dropped = is_stuck && j->lane_ && unqueue_locked(j);
    }
    if (is_dropped && j->holds_loop_)
        let_loop_go();
    if (shortage && !is_dropped)
        retry_later();
    return is_stuck ? shortage : error_code();
}

bool worker_pool::post(void (*function)(), keeps_loop keeps) noexcept
{
    job_ptr j;
    {
        const lock held(mutex_);
        j = pop_locked(spares_);
    }
    try {
        if (!j) {
            j = std::make_shared<job>();
            j->is_spare_ = true;
        }
    }
    catch (const std::bad_alloc&) {
        return false;
    }
    j->function_ = function;
    j->pool_ = this;
    j->holds_loop_ = keeps == keeps_loop::yes;
    submit(j);
    return true;
}

bool worker_pool::withdraw(const job_ptr& j) noexcept
{
    if (is_parents(*j))
        return true;
    std::function<void()> dropped; // What it holds ends outside the lock.
    error_code shortage;
    {
        const lock held(mutex_);
        if (!unqueue_locked(j))
            return false;
        dropped.swap(j->function_);
        shortage = serve_locked();
    }
    dropped = nullptr;
    if (j->holds_loop_)
        let_loop_go();
    if (shortage)
        retry_later();
    return true;
}

void worker_pool::release_loop(const job_ptr& j) noexcept
{
    {
        const lock held(mutex_);
        if (j->state_ != job::state::running || !std::exchange(j->holds_loop_, false))
            return;
    }
    let_loop_go();
}

bool worker_pool::abandon(const job_ptr& j) noexcept
{
    if (withdraw(j))
        return true;
    error_code shortage;
    {
        const lock held(mutex_);
        if (j->state_ != job::state::running)
            return false;
        j->state_ = job::state::abandoned;
        --running_;
        ++abandoned_;
        leave_lane_locked(*j);
        shortage = serve_locked();
    }
    if (j->holds_loop_)
        let_loop_go();
    if (shortage)
        retry_later();
    return false;
}

void worker_pool::set_limits(std::size_t jobs_of_lane, std::size_t threads) noexcept
{
    error_code shortage;
    {
        const lock held(mutex_);
        jobs_of_lane_ = std::max<std::size_t>(jobs_of_lane, 1);
        max_threads_ = std::max<std::size_t>(threads, 1);
        for (auto lane = crowded_.begin(); lane != crowded_.end();)
            advance_locked(*lane++);
        shortage = serve_locked();
    }
    if (shortage)
        retry_later();
}

worker_pool::statistics worker_pool::stats() const noexcept
{
    const lock held(mutex_);
    return {running_, queued_ + queue_places, abandoned_, busy_.size() + idle_.size()};
}

worker_pool::queue_place::queue_place() noexcept
{
    ++queue_places;
}

worker_pool::queue_place::~queue_place()
{
    --queue_places;
}

/// At the end of the process: what is being ended is ended properly, so that a daemon sees its clients go.
/// Calls that were not cancelled may never return: nobody waits for those, and not for ever for the others.
void worker_pool::quiesce() noexcept
{
    lock held(mutex_);
    stopping_ = true;
    for (auto& w : idle_)
        w.wake.notify_one();
    changed_.wait_for(held, patience_at_exit, [&] { return urgent_.empty() && running_urgently_ == 0; });
    for (auto& w : busy_) {
        if (w.thread.joinable())
            w.thread.detach();
    }
    for (auto& w : idle_) {
        held.unlock();
        w.thread.join();
        held.lock();
    }
}

} // namespace avirt::detail
