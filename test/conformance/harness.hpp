// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "driver.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace conformance {

inline constexpr int readable = VIR_EVENT_HANDLE_READABLE;
inline constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;
inline constexpr int error = VIR_EVENT_HANDLE_ERROR;
inline constexpr int hangup = VIR_EVENT_HANDLE_HANGUP;

/// Keeps a test from waiting for ever. It measures nothing.
class deadline
{
public:
    bool passed() const noexcept;
    void check() const; // throws std::runtime_error

private:
    std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::now() + std::chrono::seconds{30};
};

/// Waits until the condition holds, on a thread that does not run the loop or inside a callback. Returns
/// false if the condition did not hold in time.
bool eventually(const std::function<bool()>& condition);

// libvirt's functions. While one of them is on a thread's stack, no callback and no free callback may run on
// that thread.
int add_handle(int fd, int events, virEventHandleCallback cb, void* opaque, virFreeCallback ff);
void update_handle(int watch, int events);
int remove_handle(int watch);
int add_timeout(int interval, virEventTimeoutCallback cb, void* opaque, virFreeCallback ff);
void update_timeout(int timeout, int interval);
int remove_timeout(int timeout);

/// One handle or timeout that is registered with libvirt, and what has happened to it so far. It lives as
/// long as its fixture.
///
/// Every callback checks the clauses that always hold: it gets the right id and fd; no two callbacks run at a
/// time; no callback runs inside one of libvirt's functions or another callback, after removal (unless
/// removal can race with it), or after the free callback. The free callback checks that it runs once, after
/// removal, when the callback has returned, and on a clean stack.
class registration
{
public:
    using action = std::function<void(registration&)>;

    int id() const noexcept
    {
        return id_;
    }
    int fd() const noexcept
    {
        return fd_;
    }
    int calls() const noexcept
    {
        return calls_;
    }
    int returned() const noexcept
    {
        return returned_;
    }
    int events() const noexcept
    {
        return events_;
    } // of the latest call
    int all_events() const noexcept
    {
        return all_events_;
    } // of all calls
    int frees() const noexcept
    {
        return frees_;
    }
    bool removed() const noexcept
    {
        return removed_;
    }

    void update(int events_or_interval);
    int remove();
    void on_free(std::function<void()> f)
    {
        on_free_ = std::move(f);
    }

private:
    friend class loop_fixture;
    registration(bool is_timeout, int fd, action act)
        : is_timeout_{is_timeout},
          fd_{fd},
          action_{std::move(act)}
    {
    }
    void add(int events_or_interval);
    void dispatch(int id, int fd, int events);
    void free();
    static void on_handle(int id, int fd, int events, void* opaque);
    static void on_timeout(int id, void* opaque);
    static void on_free_callback(void* opaque);

    const bool is_timeout_;
    const int fd_;
    const action action_;
    std::function<void()> on_free_;
    std::atomic<int> id_{0};
    std::atomic<int> calls_{0};
    std::atomic<int> returned_{0};
    std::atomic<int> active_{0};
    std::atomic<int> events_{0};
    std::atomic<int> all_events_{0};
    std::atomic<int> frees_{0};
    std::atomic<bool> removing_{false};
    std::atomic<bool> removed_{false};
    std::atomic<bool> silent_{false};    // removed while no callback could be running
    std::atomic<bool> abandoned_{false}; // the objects that the actions use are gone
};

/// A loop, and everything that a case registers with it. At the end all of it is removed, and must be freed
/// once.
class loop_fixture
{
public:
    loop_fixture();
    ~loop_fixture();
    loop_fixture(const loop_fixture&) = delete;
    loop_fixture& operator=(const loop_fixture&) = delete;

    registration& add_watch(int fd, int events, registration::action act = {});
    registration& add_timer(int interval, registration::action act = {});

    void run_until(const std::function<bool()>& done);

    /// Runs the loop until everything that was ready or due before has been served many times.
    void settle();

    /// Removes everything, waits for the free callbacks and checks the clauses that always hold.
    void teardown();

    /// Reports the violations to Boost.Test.
    static void report_violations();

    driver loop;

private:
    registration& keep(registration* item);
    bool all_freed();
    void remove_all();

    std::mutex mutex_;
    std::vector<std::unique_ptr<registration>> items_;
    bool torn_down_ = false;
};

/// Records that a clause was broken, unless the same text is recorded already. May be called on any thread.
void violation(std::string text);

/// Whether no other callback can be running, so that what the calling thread has just removed or disabled is
/// not called any more: the loop does not run, or the caller is inside a callback, and callbacks never run
/// concurrently.
bool no_callback_is_under_way() noexcept;

/// A thread that calls libvirt while the loop runs.
class helper_thread
{
public:
    explicit helper_thread(std::function<void()> f)
        : thread_{[this, f = std::move(f)] {
              try {
                  f();
              }
              catch (const std::exception& e) {
                  violation(e.what());
              }
              finished_ = true;
          }}
    {
    }
    ~helper_thread()
    {
        join();
    }
    helper_thread(const helper_thread&) = delete;
    helper_thread& operator=(const helper_thread&) = delete;

    bool finished() const noexcept
    {
        return finished_;
    }
    void join()
    {
        if (thread_.joinable())
            thread_.join();
    }

private:
    std::atomic<bool> finished_{false};
    std::thread thread_;
};

} // namespace conformance
