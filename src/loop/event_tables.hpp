// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/deferred_queue.hpp"
#include "loop/timeout_table.hpp"
#include "loop/wake_event.hpp"
#include "loop/watch_table.hpp"

#include <array>
#include <memory>
#include <mutex>

namespace avirt::detail {

/// What is registered, and what is to be called, under one lock. It outlives every event loop.
///
/// The lock is a leaf: while it is held, neither libvirt nor the application is called, and no other lock is
/// taken (docs/libvirt.md, "The six callbacks"). A function that is passed a `lock&` is called with it held.
class event_tables
{
public:
    using lock = std::unique_lock<std::mutex>;

    lock acquire() const
    {
        return lock(mutex);
    }

    /// Whether nothing is registered. Deferred calls may be left.
    bool is_empty() const noexcept
    {
        return watches.size() == 0 && timeouts.size() == 0;
    }

    // The files that the tables need while a loop is bound or something is registered.

    /// Opens those that are not open; throws system_error.
    void open_files();
    void close_files() noexcept;
    std::array<int, 2> wake_fds() const noexcept;

    /// The event to signal from other threads, which may outlive the tables' use of it. Null if it is shared
    /// with the parent.
    std::shared_ptr<const wake_event> wake_event_to_signal() const noexcept;

    /// Makes the timerfd expire when the earliest deadline passes, unless it is shared with the parent. The
    /// loop that is waiting need not be woken for it.
    void arm_timer_in_place() noexcept;

    /// In a forked child: leaves the files alone, which are also the parent's.
    void disown_files() noexcept;
    /// Replaces files that are shared with the parent by files of the child's own; throws system_error.
    void replace_shared_files();

    bool has_shared_files() const noexcept
    {
        return has_shared_files_;
    }

    mutable std::mutex mutex;
    watch_table watches;
    timeout_table timeouts;
    deferred_queue deferred;

private:
    std::shared_ptr<const wake_event> wake_;
    bool has_shared_files_ = false; // since a fork
};

} // namespace avirt::detail
