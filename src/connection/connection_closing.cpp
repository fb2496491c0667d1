// SPDX-License-Identifier: BSL-1.0
#include "connection/connection_closing.hpp"

#include "core/worker_pool.hpp"
#include "loop/socket_monitor.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <utility>

namespace avirt::detail {

connection_closing::connection_closing(
    std::shared_ptr<connection_state> connection, std::shared_ptr<close_wait> wait)
    : connection_(std::move(connection)),
      wait_(std::move(wait))
{
}

bool connection_closing::is_pending() const noexcept
{
    return static_cast<bool>(operation_);
}

worker_pool::job_ptr connection_closing::make_job()
{
    return worker_pool::instance().make([self = shared_from_this(), connection = connection_->connection,
                                         socket = connection_->socket, number = operation_.number() + 1] {
        const closing_scope scope(socket);
        self->on_closed(number, virConnectClose(connection) < 0 ? last_failure() : failure());
    });
}

void connection_closing::start(worker_pool::job_ptr job, wait_handler&& handler, error_details* details)
{
    const auto number = operation_.number() + 1;
    on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->cancel(number);
    });
    operation_.start(std::move(handler), connection_->executor, details);
    socket_ = connection_->socket;
    use_ = std::move(connection_->use);
    connection_->release();
    if (const auto no_thread = worker_pool::instance().submit(job)) // The job runs once there is a thread.
        complete(no_thread);
}

void connection_closing::abort() noexcept
{
    if (!operation_)
        return;
    operation_.complete(error_code(asio::error::operation_aborted));
    use_.end();
    // At once if libvirt is waiting for the daemon; otherwise one second after it starts to wait.
    socket_monitor::instance().interrupt_closing(*std::exchange(socket_, nullptr));
}

std::optional<pending_operation<void(error_code)>::state> connection_closing::take_handler() noexcept
{
    use_.end();
    return operation_.take();
}

void connection_closing::on_closed(std::uint64_t number, failure f)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() == number && operation_)
        complete(std::move(f));
}

void connection_closing::complete(failure f)
{
    socket_.reset();
    use_.end();
    operation_.complete(std::move(f));
    wait_->complete_closed();
}

void connection_closing::cancel(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() != number || !operation_)
        return;
    abort();
    wait_->complete_closed();
}

} // namespace avirt::detail
