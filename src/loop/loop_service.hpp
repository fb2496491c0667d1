// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <memory>

namespace avirt::detail {

class event_loop_impl;

/// Tells the loop when its context forks or ends. It is a service apart from that of context_objects because
/// it must be created after Asio's reactor: after a fork the reactor has to create its own epoll set first.
class loop_service final : public asio::execution_context::service
{
public:
    static inline asio::execution_context::id id;

    explicit loop_service(asio::execution_context& context);

    /// The service of the executor's context.
    static loop_service& of(const asio::any_io_executor& executor);

    std::weak_ptr<event_loop_impl> loop;

private:
    void shutdown() override;
    void notify_fork(asio::execution_context::fork_event event) override;
};

} // namespace avirt::detail
