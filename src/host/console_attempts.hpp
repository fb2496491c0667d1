// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "host/console_run.hpp"
#include "host/retry_delay.hpp"

#include <avirt/console_state.hpp>
#include <avirt/detail/failure.hpp>

#include <atomic>
#include <chrono>

namespace avirt::detail {

/// When and how to open a console next: at once after something has happened to the guest, otherwise after a
/// delay that grows from one failure to the next.
class console_attempts
{
public:
    using clock = std::chrono::steady_clock;

    /// @param forces Whether to take the console over if another session has it.
    explicit console_attempts(bool forces);

    // What happens.

    /// The guest has been started, or the host, which was away, has come back with the guest running.
    void guest_started(bool was_host_away) noexcept;
    void host_came_back() noexcept;
    /// The next attempt is made at once, and takes the console over.
    void take_over() noexcept;
    /// The guest does not run: there is nothing to take over.
    void guest_is_off() noexcept;
    /// No view and no write needs the console. An attempt that was given up is made when one does.
    void not_needed() noexcept;

    // The next attempt.

    /// The time before which no attempt is made; max: not before something happens.
    clock::time_point next() const noexcept
    {
        return next_;
    }

    bool is_given_up() const noexcept
    {
        return next_ == clock::time_point::max();
    }

    /// Whether the last attempt failed although the daemon answered. Views are not told that the next one
    /// begins.
    bool is_retry() const noexcept
    {
        return is_retry_;
    }

    struct attempt
    {
        bool forces;   // takes the console over
        int ended_run; // must not be opened; console_run_opener::no_run: there is none
    };

    attempt begin(clock::time_point now) noexcept;
    /// @param run The id of the guest's run; console_run_opener::no_run if it has not been looked up.
    void opened(int run, bool is_open) noexcept;
    /// The console was open, and has ended, before the call of ended().
    void was_open_for(clock::duration time) noexcept;
    /// The attempt has failed, or what it opened has ended.
    void ended(const failure& why, console_state state, clock::time_point now);
    /// The attempt, or what it opened, was cancelled.
    void cancelled() noexcept
    {
        is_retry_ = false;
    }

    /// How often the guest has been found started.
    unsigned starts() const noexcept
    {
        return starts_;
    }

private:
    const bool forces_;
    bool may_force_; // false from a takeover by another session until the guest is started again
    bool takes_over_ = false;
    bool is_retry_ = false;
    retry_delay delay_;
    clock::time_point next_ = clock::time_point::min();
    std::atomic<unsigned> starts_ = 0;
    unsigned starts_before_ = 0;                 // when the last attempt began
    int run_ = console_run_opener::no_run;       // the run whose console was opened last
    int ended_run_ = console_run_opener::no_run; // whose console has ended, which libvirt may not know yet
    clock::time_point ended_at_{};
};

} // namespace avirt::detail
