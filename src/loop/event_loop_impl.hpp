// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "loop/dispatch_state.hpp"
#include "loop/drain_list.hpp"
#include "loop/loop_backend.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The bound loop on an execution context: posts dispatches, awaits the epoll set, and completes drains.
class event_loop_impl final : public loop_backend, public std::enable_shared_from_this<event_loop_impl>
{
public:
    event_loop_impl(const asio::any_io_executor& executor, event_loop_options options);

    /// Binds libvirt to the context.
    void start();
    /// Called if the loop is destroyed, or its context is. May be called twice, and from any thread.
    void stop(bool context_ends) noexcept;

    asio::any_io_executor get_executor() const noexcept;
    void start_drain(wait_handler handler, error_details* details);

    // loop_backend
    bool post_dispatch() noexcept override;
    bool await_set(int epoll_fd) noexcept override;
    void forget_set() noexcept override;
    void idle() override;
    const event_loop_options& options() const noexcept override;

private:
    void dispatch(dispatch_state::trigger due);
    void cancel_drain(std::uint64_t number);
    void release_descriptor() noexcept;

    /// Null if the dispatches run in a strand or the like, which a handler must not hold up.
    const asio::execution_context* const context_;
    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_; // empty when the loop was stopped
    /// Work until the first dispatch: that may have to wait for a free callback that began before the loop.
    asio::any_io_executor first_dispatch_work_;
    std::optional<asio::posix::stream_descriptor> descriptor_;
    drain_list drains_;
    const event_loop_options options_;
};

} // namespace avirt::detail
