// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/error.hpp>
#include <avirt/event_loop_options.hpp>
#include <avirt/event_loop_stats.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <memory>
#include <utility>

namespace avirt {

namespace detail {
class event_loop_impl;
}

/// Runs libvirt's event loop on an execution context.
///
/// While an event_loop exists, the context's threads serve libvirt's handles and timeouts; nothing else has
/// to be run. The first event_loop registers avirt's event implementation with libvirt, which is possible
/// once in the life of a process. The table of registered handles and timeouts belongs to the process: when
/// an event_loop is destroyed, the next one takes it over. Only one event_loop can exist at a time.
///
/// The context's run() returns when libvirt has nothing registered and no operation of avirt's is
/// outstanding. The event_loop and its context may be destroyed in either order. An event_loop must not be
/// destroyed inside a callback of libvirt.
///
/// An exception that is thrown by a callback which the application added with virEventAddHandle or
/// virEventAddTimeout leaves run(); the loop continues when run() is called again. Callbacks that libvirt
/// itself calls, such as those for events, must not throw, because libvirt is written in C.
///
/// After fork(), the child may exec or _exit at any time. It may use the event_loop after it has called the
/// context's notify_fork(fork_child), which gives it file descriptors of its own. Calls that were under way
/// continue in the parent only, and connections remain the parent's: in the child they are lost. avirt cannot
/// cut off connections that were opened without it; the child must not use them.
///
/// @par Thread safety
/// libvirt may register and unregister handles and timeouts from any thread at any time.@n
/// @e Shared @e objects: Safe, except for the destructor.
///
/// @par libvirt
/// virInitialize, virEventRegisterImpl, virSetErrorFunc.
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
    /// The type of the executor associated with the object.
    using executor_type = asio::any_io_executor;

    /// Binds libvirt to the context of an executor.
    ///
    /// @param executor The executor on which libvirt's callbacks run.
    /// @param options Options of the event loop and its worker threads.
    ///
    /// @throws avirt::exception with error::event_loop_in_use if another event_loop exists, with
    /// error::foreign_event_loop if libvirt has an event implementation other than avirt's, and with
    /// libvirt's error if libvirt cannot be initialised.
    /// @throws boost::system::system_error if the process has no file descriptors left.
    AVIRT_DECL explicit event_loop(executor_type executor, event_loop_options options = {});

    /// Binds libvirt to an execution context.
    ///
    /// See event_loop(executor_type, event_loop_options).
    template <detail::execution_context ExecutionContext>
    explicit event_loop(ExecutionContext& context, event_loop_options options = {})
        : event_loop(executor_type(context.get_executor()), std::move(options))
    {
    }

    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    /// Unbinds libvirt. Never blocks.
    ///
    /// Handles and timeouts stay registered for the next event_loop; until there is one, free callbacks run
    /// on a worker thread. Outstanding drains complete with operation_aborted.
    AVIRT_DECL ~event_loop();

    /// Gets the executor associated with the object.
    AVIRT_DECL executor_type get_executor() const noexcept;

    /// Determines whether libvirt has nothing registered and no operation of avirt's is outstanding.
    AVIRT_DECL bool is_idle() const noexcept;

    /// Gets statistics about the loop and the worker threads.
    AVIRT_DECL event_loop_stats stats() const;

    /// Asynchronously waits until the loop is idle: after the last connection was closed, until everything
    /// that libvirt held is freed. Any number of drains may be outstanding.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li operation_aborted: the operation was cancelled, or the event_loop was destroyed.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total.
    ///
    /// @code
    /// conn.close();
    /// co_await loop.async_drain();
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = asio::deferred_t>
    auto async_drain(Token&& token = {})
    {
        const auto launch = [](event_loop& self, auto&& handler, error_details* details) {
            self.start_drain(
                detail::erase_handler<void(error_code)>(
                    std::forward<decltype(handler)>(handler), self.get_executor()),
                details);
        };
        return asio::async_initiate<Token, void(error_code)>(detail::initiation(*this, launch), token);
    }

private:
    AVIRT_DECL void start_drain(detail::wait_handler handler, error_details* details);

    std::shared_ptr<detail::event_loop_impl> impl_;
};

} // namespace avirt
