// SPDX-License-Identifier: BSL-1.0
#include "loop/connection_use.hpp"

#include "loop/close_deadline.hpp"

#include <utility>

namespace avirt::detail {
namespace {

thread_local unsigned waits_here = 0;

} // namespace

connection_use::connection_use(std::shared_ptr<connection_socket> socket) noexcept
    : socket_(std::move(socket))
{
    if (!socket_)
        return;
    is_on_ = true;
    close_deadline::instance().begin_use(socket_);
}

connection_use::connection_use(connection_use&& other) noexcept
    : socket_(std::move(other.socket_)),
      is_on_(other.is_on_.exchange(false))
{
}

connection_use& connection_use::operator=(connection_use&& other) noexcept
{
    end();
    socket_ = std::move(other.socket_);
    is_on_ = other.is_on_.exchange(false);
    return *this;
}

connection_use::~connection_use()
{
    end();
}

void connection_use::end() noexcept
{
    if (is_on_.exchange(false))
        close_deadline::instance().end_use(socket_);
}

daemon_wait::daemon_wait(std::shared_ptr<connection_socket> socket) noexcept : socket_(std::move(socket))
{
    ++waits_here;
    if (socket_)
        close_deadline::instance().begin_wait(socket_);
}

daemon_wait::~daemon_wait()
{
    --waits_here;
    if (socket_)
        close_deadline::instance().end_wait(socket_);
}

bool daemon_wait::is_here() noexcept
{
    return waits_here != 0;
}

closing_scope::closing_scope(
    std::shared_ptr<connection_socket> socket, std::function<void()> before_wait) noexcept
    : socket_search(std::move(socket)),
      before_wait_(std::move(before_wait))
{
}

closing_scope::~closing_scope()
{
    if (is_last_reference_)
        close_deadline::instance().end_closing(found);
}

void closing_scope::on_found() noexcept
{
    is_last_reference_ = true;
    close_deadline::instance().begin_closing(found);
    if (before_wait_)
        before_wait_();
}

void close_now(virConnectPtr connection) noexcept
{
    const closing_scope scope;
    virConnectClose(connection);
}

} // namespace avirt::detail
