// SPDX-License-Identifier: BSL-1.0
#include "loop/close_deadline.hpp"

#include "loop/event_registry.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace avirt::detail {
namespace {

thread_local unsigned works_here = 0;

} // namespace

connection_use::connection_use(std::shared_ptr<connection_socket> socket) noexcept
    : socket_(std::move(socket))
{
    if (!socket_)
        return;
    is_on_ = true;
    event_registry::instance().begin_use(socket_);
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
        event_registry::instance().end_use(socket_);
}

daemon_wait::daemon_wait(std::shared_ptr<connection_socket> socket) noexcept : socket_(std::move(socket))
{
    ++works_here;
    if (socket_)
        event_registry::instance().begin_work(socket_);
}

daemon_wait::~daemon_wait()
{
    --works_here;
    if (socket_)
        event_registry::instance().end_work(socket_);
}

bool daemon_wait::is_here() noexcept
{
    return works_here != 0;
}

closing_scope::closing_scope(std::shared_ptr<connection_socket> s, std::function<void()> before_wait) noexcept
    : socket_search(std::move(s)),
      before_wait_(std::move(before_wait))
{
}

closing_scope::~closing_scope()
{
    if (is_last_)
        event_registry::instance().end_closing(found);
}

void closing_scope::on_found() noexcept
{
    is_last_ = true;
    event_registry::instance().begin_closing(found);
    if (before_wait_)
        before_wait_();
}

void close_now(virConnectPtr connection) noexcept
{
    const closing_scope scope;
    virConnectClose(connection);
}

deadline::deadline(std::chrono::milliseconds after, std::function<void()> function)
{
    if (after <= std::chrono::milliseconds(0))
        return;
    constexpr std::chrono::milliseconds::rep longest = std::numeric_limits<int>::max();
    auto argument = std::make_unique<std::function<void()>>(std::move(function));
    timer_ = event_registry::instance().add_own_timeout(
        static_cast<int>(std::min(after.count(), longest)),
        [](int timer, void* f) {
            // Once: the function is free to destroy us.
            event_registry::instance().update_timeout(timer, -1);
            (*static_cast<std::function<void()>*>(f))();
        },
        argument.get(), [](void* f) { delete static_cast<std::function<void()>*>(f); });
    if (timer_ >= 0)
        static_cast<void>(argument.release());
}

deadline::~deadline()
{
    if (timer_ >= 0)
        event_registry::instance().remove_timeout(timer_);
}

} // namespace avirt::detail
