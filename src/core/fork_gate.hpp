// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <mutex>

namespace avirt::detail {

/// What no fork may come in between of: the child would find a lock held, or a change half made, by a thread
/// that it does not have. A fork waits until no other thread is inside, and keeps them out until it is over.
///
/// Inside, nothing waits for anything but locks.
class fork_gate
{
public:
    static void enter() noexcept;
    static void leave() noexcept;

    // For the thread that forks.
    static void close() noexcept;
    static void open_in_parent() noexcept;
    static void open_in_child() noexcept;

    /// How many forks lie between the first process and this one.
    static unsigned generation() noexcept;
};

/// While it lives, this thread is inside.
class fork_pass
{
public:
    fork_pass() noexcept
    {
        fork_gate::enter();
    }

    ~fork_pass()
    {
        fork_gate::leave();
    }

    fork_pass(const fork_pass&) = delete;
    fork_pass& operator=(const fork_pass&) = delete;
};

/// A mutex that is not held across a fork, but by the thread that forks.
class fork_safe_mutex
{
public:
    void lock()
    {
        fork_gate::enter();
        mutex_.lock();
    }

    void unlock() noexcept
    {
        mutex_.unlock();
        fork_gate::leave();
    }

private:
    std::mutex mutex_;
};

} // namespace avirt::detail
