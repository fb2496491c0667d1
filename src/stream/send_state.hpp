// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

#include <cstdint>
#include <utility>

namespace avirt::detail {

/// Why a write on a stream with an event callback waits, and what it may do next. Calls nothing.
class send_state
{
public:
    enum class method {
        direct,    ///< A send never blocks: each write attempts one.
        on_worker, ///< A send may block, so each is made on a worker thread.
    };

    enum class state {
        unreported, ///< WRITABLE was not reported since libvirt was last given something.
        writable,   ///< A send is worth an attempt.
        on_worker,  ///< A worker thread sends, or is about to.
        refused,    ///< Nothing can be sent any more.
    };

    /// What a write has to do.
    enum class step {
        send,              ///< Send here and now.
        submit,            ///< Send on a worker thread.
        wait_for_worker,   ///< Wait for the thread that sends.
        wait_for_writable, ///< Wait until WRITABLE is reported.
        fail,              ///< Complete with refusal().
    };

    /// A worker may send at once. A direct send may be attempted, too, but a wait for writing has to wait for
    /// a report.
    explicit send_state(method how) noexcept
        : method_(how),
          state_(how == method::direct ? state::unreported : state::writable)
    {
    }

    state get() const noexcept
    {
        return state_;
    }

    bool sends_on_worker() const noexcept
    {
        return method_ == method::on_worker;
    }

    step next() const noexcept
    {
        if (state_ == state::refused)
            return step::fail;
        if (method_ == method::direct)
            return step::send;
        switch (state_) {
        case state::writable:
            return step::submit;
        case state::on_worker:
            return step::wait_for_worker;
        default:
            return step::wait_for_writable;
        }
    }

    /// Returns whether a wait for writing is over. A write on a worker thread is always worth an attempt.
    bool is_ready() const noexcept
    {
        return sends_on_worker() || state_ == state::writable || has_failed();
    }

    /// Returns whether an error or a hang-up was reported, or nothing can be sent any more.
    bool has_failed() const noexcept
    {
        return has_hung_up_ || state_ == state::refused;
    }

    /// Why nothing can be sent any more.
    const failure& refusal() const noexcept
    {
        return refusal_;
    }

    /// Returns whether a worker thread carries out this send for a write that is still pending.
    bool is_on_worker(std::uint64_t number) const noexcept
    {
        return state_ == state::on_worker && number == number_;
    }

    void report_writable() noexcept
    {
        if (state_ == state::unreported)
            state_ = state::writable;
    }

    /// An error or a hang-up was reported. What is not taken now never will be.
    void report_failure() noexcept
    {
        has_hung_up_ = true;
        report_writable();
    }

    /// The number of the next send on a worker thread.
    std::uint64_t next_number() const noexcept
    {
        return number_ + 1;
    }

    /// A worker thread is given the next send.
    void submit() noexcept
    {
        state_ = state::on_worker;
        ++number_;
    }

    /// libvirt was given something, and has taken it or failed.
    void sent() noexcept
    {
        set_unless_refused(method_ == method::direct ? state::unreported : state::writable);
    }

    /// libvirt would have blocked.
    void found_no_room() noexcept
    {
        set_unless_refused(state::unreported);
    }

    /// The write does not wait for the worker thread any more.
    void give_up() noexcept
    {
        if (state_ == state::on_worker)
            state_ = state::writable;
    }

    void refuse(failure why)
    {
        state_ = state::refused;
        refusal_ = std::move(why);
    }

private:
    void set_unless_refused(state next) noexcept
    {
        if (state_ != state::refused)
            state_ = next;
    }

    const method method_;
    state state_;
    bool has_hung_up_ = false;
    std::uint64_t number_ = 0; // of the latest send on a worker thread
    failure refusal_;
};

} // namespace avirt::detail
