// SPDX-License-Identifier: BSL-1.0
#include "loop/close_deadline.hpp"

#include <new>
#include <utility>

namespace avirt::detail {
namespace {

bool needs_deadline(const connection_socket& socket) noexcept
{
    return socket.fd >= 0 && socket.uses == 0
        && (socket.closings != 0 || (socket.waits != 0 && !socket.is_shared));
}

} // namespace

close_deadline::close_deadline(event_tables& tables, dispatch_scheduler& scheduler) noexcept
    : tables_(tables),
      scheduler_(scheduler)
{
}

void close_deadline::begin_use(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::uses, 1);
}

void close_deadline::end_use(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::uses, -1);
}

void close_deadline::begin_wait(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::waits, 1);
}

void close_deadline::end_wait(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::waits, -1);
}

void close_deadline::begin_closing(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::closings, 1);
}

void close_deadline::end_closing(const std::shared_ptr<connection_socket>& socket) noexcept
{
    add(socket, &connection_socket::closings, -1);
}

void close_deadline::share(const std::shared_ptr<connection_socket>& socket) noexcept
{
    auto held = tables_.acquire();
    socket->is_shared = true;
    update(held, socket);
}

void close_deadline::add(
    const std::shared_ptr<connection_socket>& socket, counter count, int difference) noexcept
{
    auto held = tables_.acquire();
    (*socket).*count += static_cast<unsigned>(difference);
    update(held, socket);
}

void close_deadline::update(
    event_tables::lock& held, const std::shared_ptr<connection_socket>& socket) noexcept
{
    update(socket);
    scheduler_.timeouts_changed(held);
}

void close_deadline::update(const std::shared_ptr<connection_socket>& socket) noexcept
try {
    if (const int timer = std::exchange(socket->close_timer, 0))
        tables_.timeouts.remove(timer);
    if (!needs_deadline(*socket))
        return;
    socket->close_timer = tables_.timeouts.add(
        {.interval = static_cast<int>(time_limit.count()),
         .callback = [](int timer, void* self) { static_cast<close_deadline*>(self)->expired(timer); },
         .opaque = this,
         .owner = socket,
         .is_internal = true});
}
catch (const std::bad_alloc&) {
    // Without memory for the timer, the end of the connection takes as long as it takes.
}

void close_deadline::expired(int timer) noexcept
{
    const auto held = tables_.acquire();
    const auto* t = tables_.timeouts.find(timer);
    const auto socket = t ? t->owner : nullptr;
    if (!socket || socket->close_timer != timer) // What was under way has just ended.
        return;
    tables_.timeouts.remove(timer);
    socket->close_timer = 0;
    shut_down(*socket, connection_socket::end::interrupted);
}

} // namespace avirt::detail
