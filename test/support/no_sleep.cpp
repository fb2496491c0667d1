// SPDX-License-Identifier: BSL-1.0
#include "support/no_sleep.hpp"

#include <cstdlib>
#include <utility>

#include <dlfcn.h>
#include <execinfo.h>
#include <poll.h>
#include <pthread.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

namespace support {
namespace {

thread_local no_sleep* current = nullptr;

template <class Function>
Function* real(const char* name)
{
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

} // namespace

struct sleep_observer
{
    static void note(const char* function)
    {
        auto* watched = std::exchange(current, nullptr); // The code below may sleep.
        void* frames[40];
        const int count = ::backtrace(frames, 40);
        char** names = ::backtrace_symbols(frames, count);
        std::string text = function;
        for (int i = 0; i < count; ++i)
            text += std::string("\n  ") + names[i];
        std::free(names);
        watched->violations_.push_back(std::move(text));
        current = watched;
    }
};

no_sleep::no_sleep() noexcept : outer_(std::exchange(current, this)) {}

no_sleep::~no_sleep()
{
    current = outer_;
}

} // namespace support

using support::current;
using support::real;
using support::sleep_observer;

extern "C" {

int poll(pollfd* fds, nfds_t count, int timeout)
{
    static const auto next = real<decltype(::poll)>("poll");
    if (current && timeout != 0) {
        const int ready = next(fds, count, 0);
        if (ready != 0)
            return ready;
        sleep_observer::note("poll");
    }
    return next(fds, count, timeout);
}

int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask)
{
    static const auto next = real<decltype(::ppoll)>("ppoll");
    const bool waits = !timeout || timeout->tv_sec != 0 || timeout->tv_nsec != 0;
    if (current && waits) {
        const timespec at_once{};
        const int ready = next(fds, count, &at_once, mask);
        if (ready != 0)
            return ready;
        sleep_observer::note("ppoll");
    }
    return next(fds, count, timeout, mask);
}

int select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout)
{
    static const auto next = real<decltype(::select)>("select");
    if (current && (!timeout || timeout->tv_sec != 0 || timeout->tv_usec != 0))
        sleep_observer::note("select");
    return next(count, read, write, except, timeout);
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
{
    static const auto next = real<decltype(::pthread_cond_wait)>("pthread_cond_wait");
    if (current)
        sleep_observer::note("pthread_cond_wait");
    return next(condition, mutex);
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* end)
{
    static const auto next = real<decltype(::pthread_cond_timedwait)>("pthread_cond_timedwait");
    if (current)
        sleep_observer::note("pthread_cond_timedwait");
    return next(condition, mutex, end);
}

int pthread_join(pthread_t thread, void** result)
{
    static const auto next = real<decltype(::pthread_join)>("pthread_join");
    if (current)
        sleep_observer::note("pthread_join");
    return next(thread, result);
}

int nanosleep(const timespec* time, timespec* left)
{
    static const auto next = real<decltype(::nanosleep)>("nanosleep");
    if (current)
        sleep_observer::note("nanosleep");
    return next(time, left);
}
}
