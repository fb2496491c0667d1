// SPDX-License-Identifier: BSL-1.0
#include "loop/socket_monitor.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace avirt::detail {

using end = connection_socket::end;

socket_monitor::socket_monitor(event_tables& tables, close_deadline& deadlines) noexcept
    : tables_(tables),
      deadlines_(deadlines)
{
}

void socket_monitor::observe(connection_socket& socket, std::weak_ptr<socket_observer> observer)
{
    const auto held = tables_.acquire();
    std::erase_if(socket.observers, [](const auto& o) { return o.expired(); });
    const auto is_it = [&](const auto& o) { return !o.owner_before(observer) && !observer.owner_before(o); };
    if (std::ranges::none_of(socket.observers, is_it))
        socket.observers.push_back(std::move(observer));
}

void socket_monitor::pause(const connection_socket& socket) noexcept
{
    const auto held = tables_.acquire();
    tables_.watches.pause(socket.watch);
}

void socket_monitor::resume(const connection_socket& socket) noexcept
{
    const auto held = tables_.acquire();
    tables_.watches.resume(socket.watch);
}

void socket_monitor::await_writable(const connection_socket& socket) noexcept
{
    const auto held = tables_.acquire();
    tables_.watches.await_writable(socket.watch);
}

void socket_monitor::interrupt(connection_socket& socket) noexcept
{
    const auto held = tables_.acquire();
    shut_down(socket, end::interrupted);
}

void socket_monitor::interrupt_unless_used(connection_socket& socket) noexcept
{
    constexpr unsigned owners_use = 1;
    const auto held = tables_.acquire();
    if (socket.uses <= owners_use)
        shut_down(socket, end::interrupted);
}

void socket_monitor::interrupt_closing(connection_socket& socket) noexcept
{
    const auto held = tables_.acquire();
    if (socket.closings != 0)
        shut_down(socket, end::interrupted);
}

void socket_monitor::attach(connection_socket& socket, int watch, int fd) noexcept
{
    socket.watch = watch;
    socket.fd = fd;
    socket.is_remote = true;
    if (socket.ended_by != end::none) // It was interrupted before its socket was known.
        shut_down(socket, socket.ended_by);
}

bool socket_monitor::find(socket_search& search, int watch) noexcept
try {
    auto* w = tables_.watches.find(watch);
    if (!w || search.found)
        return false;
    if (!w->socket) {
        if (!search.unknown)
            search.unknown = std::make_shared<connection_socket>();
        tables_.deferred.reserve(1);
        ++w->reserved_calls;
        w->socket = search.unknown;
        attach(*w->socket, watch, w->fd);
        deadlines_.update(w->socket);
    }
    search.found = w->socket;
    return true;
}
catch (const std::bad_alloc&) {
    return false;
}

bool socket_monitor::detach(const watch_table::watch& removed, bool by_keepalive) noexcept
{
    const auto& socket = removed.socket;
    if (!socket || socket->watch != removed.id)
        return false;
    socket->watch = 0;
    socket->fd = -1;
    deadlines_.update(socket);
    socket->command = {};
    if (socket->ended_by == end::none)
        socket->ended_by = by_keepalive ? end::silence : end::peer;
    if (socket->observers.empty())
        return false;
    const auto tell = [](void* s) {
        auto& self = instance();
        auto held = self.tables_.acquire();
        self.notify(held, **static_cast<std::shared_ptr<connection_socket>*>(s), &socket_observer::on_lost);
    };
    tables_.deferred.push({.function = tell, .socket = socket});
    return true;
}

bool socket_monitor::notify(lock& held, const connection_socket& socket, void (socket_observer::*event)())
{
    for (const auto& o : socket.observers) {
        if (auto observer = o.lock())
            notified_.push_back(std::move(observer));
    }
    held.unlock();
    const bool has_observers = !notified_.empty();
    for (const auto& observer : notified_)
        ((*observer).*event)();
    notified_.clear();
    held.lock();
    return has_observers;
}

} // namespace avirt::detail
