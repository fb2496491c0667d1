// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"
#include "loop/connection_socket.hpp"
#include "loop/id_table.hpp"

#include <libvirt/libvirt.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace avirt::detail {

/// libvirt's timeouts: those that are due every turn (0 ms) in a list, the others in a heap by deadline,
/// whose earliest arms one timerfd. Not locked: event_registry does that.
class timeout_table
{
public:
    using clock = std::chrono::steady_clock;

    struct timeout
    {
        int id = 0;
        int interval = -1; // ms; 0: every turn; negative: disabled
        virEventTimeoutCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
        std::shared_ptr<connection_socket> socket{};
        std::shared_ptr<connection_socket> owner{}; // under whose URI it is reported
        std::uint32_t room = 0;                     // that was made for its removal
        bool is_own = false;                        // avirt's, not libvirt's
        unsigned in_a_row = 0;                      // times it was due since it was updated, not by itself
        bool by_calls = false;                      // that was in calls alone
        clock::time_point deadline{};
        std::uint32_t position = id_table<timeout>::none; // in the heap, or in the list of the ready ones
    };

    struct ready
    {
        std::uint32_t slot;
        int id;
    };

    static constexpr std::uint32_t none = id_table<timeout>::none;

    void open(); // throws system_error
    void close() noexcept;

    /// Readable when the earliest deadline has passed.
    int timer_fd() const noexcept
    {
        return timer_.get();
    }

    std::size_t size() const noexcept
    {
        return timeouts_.size();
    }

    bool has_ready() const noexcept
    {
        return !ready_.empty();
    }

    bool has_deadlines() const noexcept
    {
        return !heap_.empty();
    }

    /// Returns the id.
    int add(timeout&& t);
    enum class update_from {
        its_callback,
        call, // by a thread that waits for the daemon
        elsewhere
    };

    /// Starts the interval anew, also where it stays the same.
    void update(int id, int interval, update_from from = update_from::elsewhere) noexcept;
    /// The removed timeout; its id is 0 where there was none.
    timeout remove(int id) noexcept;

    /// Null where there is none.
    timeout* find(int id) noexcept;
    /// The 0 ms timeout that a ready record was made for, or null where it was removed or changed since.
    timeout* find_ready(const ready& r) noexcept;
    void collect_ready(std::vector<ready>& out);
    /// The next timeout whose deadline has passed, its interval started anew; or null.
    timeout* next_due(clock::time_point now) noexcept;

    /// Sees to it that the timer expires when the earliest deadline passes. It may expire earlier: setting
    /// it costs a system call, which a deadline that moves away does not deserve.
    void arm() noexcept;
    /// Saves a wake-up for nothing, where no deadline is left: to be called before the loop goes to sleep.
    void disarm_if_unused() noexcept;

private:
    void schedule(std::uint32_t slot) noexcept;
    void unschedule(std::uint32_t slot) noexcept;
    void place(std::uint32_t slot, std::size_t position) noexcept;
    void sift_up(std::size_t position) noexcept;
    void sift_down(std::size_t position) noexcept;
    void set_timer(clock::time_point deadline) noexcept;

    id_table<timeout> timeouts_;
    std::vector<std::uint32_t> heap_;
    std::vector<std::uint32_t> ready_;
    unique_fd timer_;
    clock::time_point armed_for_ = clock::time_point::max();
};

} // namespace avirt::detail
