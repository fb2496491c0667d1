// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

#include <utility>

namespace avirt::detail {

/// What a transport knows about the bytes that libvirt has for it: whether a receive is worth an attempt, and
/// why nothing will come any more. Calls nothing.
class receive_state
{
public:
    enum class state {
        empty,      ///< libvirt has nothing, as far as is known: something has to be reported first.
        maybe_more, ///< A receive may find something.
        draining,   ///< The connection is lost: a receive may find what came before, but nothing is reported.
        ended,      ///< Nothing will be received any more.
    };

    explicit receive_state(state initial) noexcept : state_(initial) {}

    state get() const noexcept
    {
        return state_;
    }

    bool may_receive() const noexcept
    {
        return state_ == state::maybe_more || state_ == state::draining;
    }

    bool has_ended() const noexcept
    {
        return state_ == state::ended;
    }

    /// Why the stream has ended. It stays the same however often it is asked for: libvirt repeats some
    /// errors, and forgets others.
    const failure& why_ended() const noexcept
    {
        return end_;
    }

    /// libvirt may have something new.
    void report() noexcept
    {
        if (state_ == state::empty)
            state_ = state::maybe_more;
    }

    /// A receive is about to use up the report, which is good for one receive.
    void use_report() noexcept
    {
        if (state_ == state::maybe_more)
            state_ = state::empty;
    }

    /// A receive would have blocked.
    void found_nothing() noexcept
    {
        use_report();
        if (state_ == state::draining)
            state_ = state::ended;
    }

    /// The connection is lost.
    void lose(failure why)
    {
        if (state_ == state::ended)
            return;
        state_ = state::draining;
        end_ = std::move(why);
    }

    /// Nothing can be received any more, from now on.
    void end(failure why)
    {
        state_ = state::ended;
        end_ = std::move(why);
    }

private:
    state state_;
    failure end_; // in effect once the state is ended
};

} // namespace avirt::detail
