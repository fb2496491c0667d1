// SPDX-License-Identifier: BSL-1.0
#include "connection/connection_opening.hpp"

#include "connection/open.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <utility>

namespace avirt::detail {

connection_opening::connection_opening(
    std::shared_ptr<connection_state> connection, std::weak_ptr<socket_observer> observer)
    : connection_(std::move(connection)),
      observer_(std::move(observer))
{
}

bool connection_opening::is_pending() const noexcept
{
    return static_cast<bool>(operation_);
}

void connection_opening::start(open_options options, wait_handler&& handler, error_details* details)
{
    const auto number = operation_.number() + 1;
    const auto known = std::make_shared<connect_options>(std::move(options));
    const auto socket = std::make_shared<connection_socket>();
    socket->uri = known->uri;
    // A new lane: jobs that are stuck in the previous one may belong to another daemon.
    auto lane = std::make_shared<job_lane>();
    auto job = worker_pool::instance().make(
        [self = shared_from_this(), known, socket, number] { self->open_on_worker(*known, socket, number); },
        lane);
    time_limit_.emplace(known->timeout, [weak = weak_from_this(), number] {
        if (const auto self = weak.lock())
            self->time_out(number);
    });
    on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->cancel(number);
    });
    operation_.start(std::move(handler), connection_->executor, details);
    connection_->options = known;
    connection_->socket = socket;
    connection_->lane = std::move(lane);
    job_ = std::move(job);
    if (const auto no_thread = worker_pool::instance().submit(job_))
        complete(no_thread);
}

void connection_opening::abort() noexcept
{
    operation_.complete(error_code(asio::error::operation_aborted));
    free_thread();
}

std::optional<pending_operation<void(error_code)>::state> connection_opening::take_handler() noexcept
{
    free_thread();
    return operation_.take();
}

void connection_opening::open_on_worker(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, std::uint64_t number)
{
    failure f;
    virConnectPtr opened = connect(options, socket, f);
    {
        const std::lock_guard guard(connection_->mutex);
        if (operation_ && operation_.number() == number) {
            connection_->connection = std::exchange(opened, nullptr);
            if (connection_->connection) {
                socket_monitor::instance().observe(*socket, observer_);
                connection_->use = connection_use(socket);
            }
            complete(std::move(f));
        }
    }
    if (opened) // The operation ended before libvirt had opened the connection.
        close_now(opened);
}

void connection_opening::complete(failure f)
{
    time_limit_.reset();
    job_.reset();
    connection_->why_not_open = f.details;
    operation_.complete(std::move(f));
}

void connection_opening::time_out(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() != number || !operation_)
        return;
    auto f = open_timed_out();
    connection_->why_not_open = f.details;
    operation_.complete(std::move(f));
    free_thread();
}

void connection_opening::cancel(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() == number)
        abort();
}

/// Frees the thread that opens the connection. Before libvirt has registered a socket, the thread cannot be
/// freed and is abandoned.
void connection_opening::free_thread() noexcept
{
    time_limit_.reset();
    if (job_ && !worker_pool::instance().abandon(std::exchange(job_, nullptr)) && connection_->socket)
        socket_monitor::instance().interrupt(*connection_->socket);
}

} // namespace avirt::detail
