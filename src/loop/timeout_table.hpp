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

/// libvirt's timeouts, and avirt's own: those of 0 ms, which are due every turn, in a list, the others in a
/// heap ordered by deadline. The earliest deadline arms one timerfd. Guarded by the lock of event_tables.
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
        std::shared_ptr<connection_socket> socket{}; // the connection's, if it is a keepalive timer
        std::shared_ptr<connection_socket> owner{};  // the connection under whose URI it is reported
        std::uint32_t reserved_calls = 0;            // reserved in the deferred queue for its removal
        bool is_internal = false;                    // avirt's, not libvirt's
        unsigned in_a_row = 0; // times it was due since an update other than by its own callback
        bool by_calls = false; // all those updates came from threads that wait for the daemon
        clock::time_point deadline{};
        std::uint32_t position = id_table<timeout>::none; // in the heap, or in the list of ready timeouts
    };

    struct ready
    {
        std::uint32_t slot;
        int id;
    };

    static constexpr std::uint32_t none = id_table<timeout>::none;

    /// Creates the timerfd; throws system_error.
    void open();
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

    /// How many of them are avirt's.
    std::size_t internal_size() const noexcept
    {
        return internal_size_;
    }

    /// Whether there are timeouts of 0 ms.
    bool has_ready() const noexcept
    {
        return !ready_.empty();
    }

    bool has_deadlines() const noexcept
    {
        return !heap_.empty();
    }

    /// Where an update comes from: the timeout's own callback, a thread that waits for the daemon in a call,
    /// or anywhere else.
    enum class update_from { its_callback, call, elsewhere };

    /// Returns the id.
    int add(timeout&& t);
    /// Restarts the interval, even if it stays the same.
    void update(int id, int interval, update_from from = update_from::elsewhere) noexcept;
    /// Returns the removed timeout; its id is 0 if there was none.
    timeout remove(int id) noexcept;

    /// Returns the timeout, or null.
    timeout* find(int id) noexcept;
    /// Appends the timeouts of 0 ms.
    void collect_ready(std::vector<ready>& out);
    /// Returns the 0 ms timeout that a ready record was made for, or null if it was removed or changed since.
    timeout* find_ready(const ready& r) noexcept;
    /// Returns a timeout whose deadline has passed, and restarts its interval; null if there is none.
    timeout* next_due(clock::time_point now) noexcept;

    /// Makes the timerfd expire when the earliest deadline passes. Re-arming for a later deadline is not
    /// worth a system call, so it may expire early.
    void arm() noexcept;
    /// Disarms the timerfd if no deadline is left, which saves a wake-up. Call before the loop goes to sleep.
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
    std::size_t internal_size_ = 0;
    unique_fd timer_;
    clock::time_point armed_for_ = clock::time_point::max();
};

} // namespace avirt::detail
