// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace avirt::detail {

/// The state machine of the dispatches: at most one runs or is scheduled at a time. Each transition returns
/// what the caller has to do so that the next dispatch takes place. Guarded by the lock of event_tables.
class dispatch_state
{
public:
    enum class phase {
        unbound,             ///< No loop is bound.
        unbound_dispatching, ///< The same, but deferred calls, or the dispatch of an unbound loop, still run.
        idle,                ///< A loop is bound, and no dispatch is scheduled.
        posted,              ///< A dispatch is posted to the loop's context.
        awaiting,            ///< A dispatch takes place when the epoll set is readable.
        signalled,           ///< The same, and the wake event is signalled already.
        dispatching,         ///< The loop dispatches.
        replaced             ///< A loop is bound, but the dispatch of a previous one still runs.
    };

    /// How a dispatch was scheduled.
    enum class trigger { post, readiness };

    enum class action {
        none,
        post,         ///< Post a dispatch to the loop's context.
        signal,       ///< Signal the wake event.
        run_deferred, ///< Run the deferred calls on a worker thread.
        await,        ///< Await the readiness of the epoll set.
        report_idle   ///< Tell the loop that nothing is left.
    };

    /// What a dispatch leaves behind. With no loop bound, only deferred calls count.
    enum class remainder { work, registrations, nothing };

    phase current() const noexcept
    {
        return phase_;
    }

    bool is_dispatching() const noexcept
    {
        return phase_ == phase::unbound_dispatching || phase_ == phase::dispatching
            || phase_ == phase::replaced;
    }

    bool is_awaiting() const noexcept
    {
        return phase_ == phase::awaiting || phase_ == phase::signalled;
    }

    /// A loop is bound. Its first dispatch takes place even if there is nothing to do.
    action bind() noexcept
    {
        if (phase_ == phase::unbound_dispatching) {
            phase_ = phase::replaced;
            return action::none;
        }
        phase_ = phase::posted;
        return action::post;
    }

    action unbind(bool has_deferred) noexcept
    {
        phase_ = is_dispatching() ? phase::unbound_dispatching : phase::unbound;
        return request(has_deferred);
    }

    /// There is something to do. A dispatch that runs sees it when it ends.
    action request(bool has_deferred) noexcept
    {
        switch (phase_) {
        case phase::unbound:
            return has_deferred ? action::run_deferred : action::none;
        case phase::idle:
            phase_ = phase::posted;
            return action::post;
        case phase::awaiting:
            phase_ = phase::signalled;
            return action::signal;
        default:
            return action::none;
        }
    }

    /// A dispatch that was scheduled so is due. Returns whether to run it: if not, others have overtaken it.
    bool begin(trigger due) noexcept
    {
        const bool is_expected = due == trigger::post ? phase_ == phase::posted : is_awaiting();
        if (is_expected)
            phase_ = phase::dispatching;
        return is_expected;
    }

    /// Returns whether to run the deferred calls without a loop.
    bool begin_unbound() noexcept
    {
        if (phase_ != phase::unbound)
            return false;
        phase_ = phase::unbound_dispatching;
        return true;
    }

    action end(remainder left) noexcept
    {
        if (phase_ == phase::unbound_dispatching) {
            phase_ = phase::unbound;
            return request(left == remainder::work);
        }
        if (phase_ == phase::replaced || left == remainder::work) {
            phase_ = phase::posted;
            return action::post;
        }
        if (left == remainder::registrations) {
            phase_ = phase::awaiting;
            return action::await;
        }
        phase_ = phase::idle;
        return action::report_idle;
    }

    /// There was no memory to schedule a dispatch so. Returns whether to request one again later.
    bool fail(trigger failed) noexcept
    {
        const bool is_current = failed == trigger::post ? phase_ == phase::posted : is_awaiting();
        if (is_current)
            phase_ = phase::idle;
        return is_current;
    }

    /// In a forked child that has got an epoll set of its own.
    ///
    /// @param has_dispatcher Whether the thread that dispatched, if any did, is the one that forked: others
    /// stay in the parent.
    void fork(bool has_dispatcher) noexcept
    {
        if (is_awaiting())
            phase_ = phase::idle;
        if (!has_dispatcher && is_dispatching())
            phase_ = phase_ == phase::unbound_dispatching ? phase::unbound : phase::idle;
    }

private:
    phase phase_ = phase::unbound;
};

} // namespace avirt::detail
