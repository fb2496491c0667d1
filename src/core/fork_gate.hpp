// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <mutex>

namespace avirt::detail {

/// Keeps forks away from code that no fork may interrupt: the child would find a lock held, or a change half
/// made, by a thread that the child does not have. A fork waits until no other thread is inside the gate, and
/// keeps threads outside until it is over.
///
/// A thread inside the gate must wait for nothing but locks.
class fork_gate
{
public:
    static void enter() noexcept;
    static void leave() noexcept;

    // For the thread that forks.
    static void close() noexcept;
    static void open_in_parent() noexcept;
    static void open_in_child() noexcept;

    /// The number of forks between the first process and this one.
    static unsigned generation() noexcept;
};

/// Keeps the calling thread inside the gate while it exists.
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

/// A mutex that no thread but the one that forks holds across a fork.
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
