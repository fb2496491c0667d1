// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>
#include <avirt/event_loop_options.hpp>
#include <avirt/event_loop_stats.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <memory>
#include <type_traits>

namespace avirt {

namespace detail {
class event_loop_impl;
}

/// libvirt's event loop on an execution context.
///
/// While an event_loop lives, libvirt's handles and timeouts are served by the context's threads; nothing
/// else has to be run. The first one registers avirt's event implementation with libvirt, which is once for
/// the life of the process. The table of what is registered belongs to the process: when a loop is
/// destroyed, the next one takes over. One loop is bound at a time.
///
/// The context's run() returns when libvirt has nothing registered and nothing of avirt's is pending. The
/// loop and its context may be destroyed in either order. Destroying the loop inside a libvirt callback is a
/// precondition violation.
///
/// An exception thrown by a callback that the application has added with virEventAddHandle or
/// virEventAddTimeout leaves run(); the loop works on when run() is called again. Where a callback is called
/// by libvirt itself, as those for events are, it must not throw: libvirt is C.
///
/// After fork(), a child may exec or _exit at any time. It may use the loop after the context's
/// notify_fork(fork_child), which gives it a set of files of its own. Calls that were under way go on in
/// the parent alone, and connections stay the parent's: to the child they are lost. Those that were opened by
/// libvirt alone avirt cannot cut off; the child has to leave them as they are.
///
/// Thread safety: libvirt may register and unregister from any thread at any time. Distinct objects: only
/// one is bound. Shared objects: all member functions but the destructor are safe.
///
/// libvirt: virInitialize, virEventRegisterImpl, virSetErrorFunc.
///
/// @code
/// asio::io_context io;
/// avirt::event_loop loop{io};
/// // ... use libvirt ...
/// io.run();
/// @endcode
class event_loop
{
public:
    using executor_type = asio::any_io_executor;

    /// Binds libvirt to the context of @p executor.
    ///
    /// @throws avirt::exception with error::event_loop_in_use where another loop is bound, or
    /// error::foreign_event_loop where libvirt has an event implementation that is not avirt's, and with
    /// libvirt's error where it cannot be initialised; boost::system::system_error where the process has no
    /// files left.
    AVIRT_DECL explicit event_loop(executor_type executor, event_loop_options options = {});

    /// Binds libvirt to @p context.
    template <detail::execution_context ExecutionContext>
    explicit event_loop(ExecutionContext& context, event_loop_options options = {})
        : event_loop(executor_type(context.get_executor()), std::move(options))
    {
    }

    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    /// Unbinds libvirt. What is registered stays so, for the next loop; free callbacks run on a thread of
    /// avirt's until there is one. Never blocks. Pending drains complete with operation_aborted.
    AVIRT_DECL ~event_loop();

    AVIRT_DECL executor_type get_executor() const noexcept;

    /// Whether nothing is registered by libvirt, and nothing of avirt's is pending.
    AVIRT_DECL bool is_idle() const noexcept;

    AVIRT_DECL event_loop_stats stats() const;

    /// Completes when the loop is idle: after the last connection was closed, all that libvirt held is freed.
    ///
    /// @param token Completion signature: `void(error_code)`.
    ///
    /// Errors: operation_aborted, when cancelled or when the loop is destroyed first.
    /// Cancellation: terminal, partial and total. Any number may be outstanding.
    ///
    /// @code
    /// conn.close();
    /// co_await loop.async_drain();
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = asio::deferred_t>
    auto async_drain(Token&& token = {})
    {
        return asio::async_initiate<Token, void(error_code)>(initiate_drain{this}, token);
    }

private:
    struct initiate_drain
    {
        event_loop* self;
        using executor_type = event_loop::executor_type;

        executor_type get_executor() const noexcept
        {
            return self->get_executor();
        }

        template <class Handler>
        void operator()(Handler&& handler) const
        {
            auto* details = detail::get_associated_details(handler);
            self->start_drain(detail::wait_handler(std::forward<Handler>(handler)), details);
        }
    };

    AVIRT_DECL void start_drain(detail::wait_handler handler, error_details* details);

    std::shared_ptr<detail::event_loop_impl> impl_;
};

} // namespace avirt
