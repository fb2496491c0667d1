// SPDX-License-Identifier: BSL-1.0
#include "connection/close_wait.hpp"

#include "connection/open.hpp"
#include "loop/connection_socket.hpp"
#include "loop/socket_monitor.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

close_reason reason_of(const connection_socket& socket) noexcept
{
    switch (socket.ended_by) {
    case connection_socket::end::peer:
        return close_reason::eof;
    case connection_socket::end::silence:
        return close_reason::keepalive;
    case connection_socket::end::interrupted:
        return close_reason::client;
    default:
        return close_reason::error;
    }
}

/// A call that does nothing: the queue looks for the socket before each call on a connection that was opened
/// elsewhere.
class socket_search_call final : public call_base
{
    bool is_internal() const noexcept override
    {
        return true;
    }

    bool needs_watched_socket() const noexcept override
    {
        return true;
    }

    failure run(virConnectPtr) noexcept override
    {
        return {};
    }
};

} // namespace

close_wait::close_wait(std::shared_ptr<connection_state> connection, std::shared_ptr<call_queue> calls)
    : connection_(std::move(connection)),
      calls_(std::move(calls))
{
}

bool close_wait::is_pending() const noexcept
{
    return static_cast<bool>(operation_);
}

void close_wait::start(closed_handler&& handler, error_details* details)
{
    on_cancel(handler, [weak = weak_from_this(), n = operation_.number() + 1](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->cancel(n);
    });
    operation_.start(std::move(handler), connection_->executor, details);
    if (connection_->is_socket_unknown())
        find_socket();
    else
        complete_if_lost();
}

void close_wait::complete_closed()
{
    operation_.complete({}, close_reason::client);
}

void close_wait::complete_if_lost()
{
    if (!operation_ || !connection_->is_remote())
        return;
    const auto& socket = *connection_->socket;
    socket_monitor::instance().observe(*connection_->socket, weak_from_this());
    if (socket.fd < 0) // Tested after observing: the connection may be lost in between.
        operation_.complete({}, reason_of(socket));
}

void close_wait::abort()
{
    operation_.complete(error_code(asio::error::operation_aborted), close_reason::client);
}

std::optional<pending_operation<void(error_code, close_reason)>::state> close_wait::take_handler()
{
    return operation_.take();
}

void close_wait::find_socket()
{
    calls_->call(
        std::make_shared<socket_search_call>(),
        [weak = weak_from_this(), n = operation_.number()](const error_code& ec, bool) {
            const auto self = weak.lock();
            if (!self)
                return;
            if (ec == error::no_event_loop)
                self->fail_unwatched(n);
            else
                self->on_lost();
        },
        nullptr);
}

/// No event would ever complete the operation, because libvirt does not watch the socket.
void close_wait::fail_unwatched(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() == number)
        operation_.complete(unwatched_failure(), close_reason::error);
}

void close_wait::cancel(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    if (operation_.number() == number)
        abort();
}

void close_wait::on_lost()
{
    const std::lock_guard guard(connection_->mutex);
    complete_if_lost();
}

} // namespace avirt::detail
