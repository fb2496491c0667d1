// SPDX-License-Identifier: BSL-1.0
#include "loop/loop_service.hpp"

#include "loop/event_loop_impl.hpp"
#include "loop/fork_handlers.hpp"

#include <boost/asio/query.hpp>

namespace avirt::detail {

loop_service::loop_service(asio::execution_context& context) : asio::execution_context::service(context) {}

loop_service& loop_service::of(const asio::any_io_executor& executor)
{
    return asio::use_service<loop_service>(asio::query(executor, asio::execution::context));
}

void loop_service::shutdown()
{
    if (const auto l = loop.lock())
        l->stop(true);
}

void loop_service::notify_fork(asio::execution_context::fork_event event)
{
    const auto l = loop.lock();
    if (!l || event != asio::execution_context::fork_child)
        return;
    l->forget_set();
    restart_after_fork();
}

} // namespace avirt::detail
