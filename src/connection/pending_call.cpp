// SPDX-License-Identifier: BSL-1.0
#include "connection/pending_call.hpp"

#include "loop/socket_monitor.hpp"

#include <boost/asio/error.hpp>

#include <utility>

namespace avirt::detail {

pending_call::pending_call(
    std::uint64_t call_number, std::shared_ptr<call_base> called, call_handler&& handler,
    const asio::any_io_executor& executor, error_details* details)
    : number(call_number),
      function(std::move(called))
{
    operation_.start(std::move(handler), executor, details);
}

error_code pending_call::submit(std::function<void()> job, const std::shared_ptr<job_lane>& lane)
{
    queue_place_.reset();
    job_ = worker_pool::instance().make(std::move(job), lane);
    return worker_pool::instance().submit(job_);
}

bool pending_call::withdraw() noexcept
{
    if (!job_ || !worker_pool::instance().withdraw(job_))
        return false;
    job_.reset();
    return true;
}

void pending_call::free_thread(interruption allowed) noexcept
{
    worker_pool::instance().abandon(std::exchange(job_, nullptr));
    if (allowed == interruption::never || !socket || function->is_internal())
        return;
    if (allowed == interruption::always)
        socket_monitor::instance().interrupt(*socket);
    else
        socket_monitor::instance().interrupt_unless_used(*socket);
}

void pending_call::complete(failure f, bool has_returned)
{
    // First: once the handler has run, this could be the last reference, and the application's function would
    // be destroyed under the lock.
    function.reset();
    operation_.complete(std::move(f), has_returned);
}

void pending_call::detach()
{
    worker_pool::instance().detach(job_);
    operation_.complete(error_code(asio::error::operation_aborted), false);
}

std::optional<pending_call::operation::state> pending_call::take_handler()
{
    return operation_.take();
}

} // namespace avirt::detail
