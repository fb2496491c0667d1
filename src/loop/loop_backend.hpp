// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/event_loop_options.hpp>

namespace avirt::detail {

/// What the dispatches need of the loop that is bound. No lock of the event tables is held.
class loop_backend
{
public:
    /// Calls dispatcher::dispatch() soon, from the execution context. Returns false if there is no memory for
    /// it. May be called from any thread, with libvirt's locks held.
    virtual bool post_dispatch() noexcept = 0;

    // The following are called only by a dispatch.

    /// Calls dispatcher::dispatch() when the epoll set is readable. Returns false if there is no memory for
    /// it.
    virtual bool await_set(int epoll_fd) noexcept = 0;
    /// The epoll set is about to be closed.
    virtual void forget_set() noexcept = 0;
    /// Nothing is registered or pending any more.
    virtual void idle() = 0;
    virtual const event_loop_options& options() const noexcept = 0;

protected:
    ~loop_backend() = default;
};

} // namespace avirt::detail
