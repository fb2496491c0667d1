// SPDX-License-Identifier: BSL-1.0
#include "core/worker_threads.hpp"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <new>
#include <system_error>

namespace avirt::detail {
namespace {

/// How long a thread stays idle before it ends.
constexpr std::chrono::seconds idle_time{3};

/// Blocks all signals while a thread is created, which inherits the mask: the application's signals are
/// handled on the application's threads.
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

} // namespace

worker* worker_threads::take_idle() noexcept
{
    if (idle_.empty())
        return nullptr;
    busy_.splice(busy_.end(), idle_, idle_.begin());
    busy_.back().wake.notify_one();
    return &busy_.back();
}

worker* worker_threads::start(const std::function<void(iterator)>& work, error_code& why) noexcept
{
    const all_signals_blocked guard;
    const auto count = busy_.size();
    try {
        const auto self = busy_.emplace(busy_.end());
        self->thread = std::thread(work, self);
        return &*self;
    }
    catch (const std::system_error& e) {
        why = error_code(e.code().value(), boost::system::system_category());
    }
    catch (const std::bad_alloc&) {
        why = make_error_code(boost::system::errc::not_enough_memory);
    }
    busy_.resize(count);
    return nullptr;
}

void worker_threads::rest(lock& held, iterator self, const bool& must_stop)
{
    idle_.splice(idle_.begin(), busy_, self);
    const auto end = std::chrono::steady_clock::now() + idle_time;
    while (!self->has_task() && !must_stop) {
        if (self->wake.wait_until(held, end) == std::cv_status::timeout)
            break;
    }
    if (!self->has_task() && !must_stop) // Otherwise take_idle() has made the thread busy.
        busy_.splice(busy_.end(), idle_, self);
}

void worker_threads::remove(iterator self)
{
    self->thread.detach();
    busy_.erase(self);
}

void worker_threads::wake_idle() noexcept
{
    for (auto& w : idle_)
        w.wake.notify_one();
}

void worker_threads::detach_busy()
{
    for (auto& w : busy_) {
        if (w.thread.joinable())
            w.thread.detach();
    }
}

void worker_threads::join_idle(lock& held)
{
    for (auto& w : idle_) {
        held.unlock();
        w.thread.join();
        held.lock();
    }
}

} // namespace avirt::detail
