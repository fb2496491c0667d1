// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>

namespace avirt::detail {

/// What core needs of the event loop. The loop implements it, so that core depends on no other room.
///
/// Thread safety: all functions may be called from any thread, with no lock of core's held.
class loop_interface
{
public:
    /// The event loop's implementation. Until there is one, an implementation for a process without a loop.
    static loop_interface& instance() noexcept;
    /// Replaces the implementation, once, by one that is never destroyed.
    static void set(loop_interface& implementation) noexcept;

    /// Tells the loop that worker_pool::holds_loop() may have changed.
    virtual void work_changed() noexcept = 0;

    /// Calls @p function on the loop after @p delay. Returns false if there is no memory for that.
    virtual bool call_after(std::chrono::milliseconds delay, void (*function)()) noexcept = 0;

    /// Calls free(object), which may drop the last reference to a connection.
    ///
    /// @param before_wait is called before libvirt waits for the daemon, if it does.
    virtual void release(
        void (*free)(void*), void* object, const std::function<void()>& before_wait) noexcept = 0;

protected:
    ~loop_interface() = default;
};

} // namespace avirt::detail
