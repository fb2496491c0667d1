// SPDX-License-Identifier: BSL-1.0
#include "connection/ready_connections.hpp"

#include "core/release_queue.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace avirt::detail {
namespace {

constexpr std::size_t most_connections = 4;

/// Whether libvirt has given the connection up, or will.
bool is_lost(const connection_socket& socket) noexcept
{
    return socket.fd < 0 || socket.ended_by != connection_socket::end::none;
}

} // namespace

ready_connections::~ready_connections()
{
    close_all();
}

ready_connections::connection ready_connections::take() noexcept
{
    while (!entries_.empty()) {
        const auto last = std::move(entries_.back().kept);
        entries_.pop_back();
        if (!is_lost(*last.socket))
            return last;
        close_later(last.native);
    }
    return {};
}

bool ready_connections::keep(const connection& c, std::function<void(std::uint64_t)> on_idle) noexcept
try {
    if (is_lost(*c.socket) || entries_.size() == most_connections)
        return false;
    const auto number = ++last_number_;
    std::list<entry> added;
    added.emplace_back(number, c, [on_idle = std::move(on_idle), number] { on_idle(number); });
    const bool will_be_closed = added.back().time_to_use.is_set();
    if (will_be_closed)
        entries_.splice(entries_.end(), added);
    return will_be_closed;
}
catch (const std::bad_alloc&) {
    return false;
}

void ready_connections::close(std::uint64_t number) noexcept
{
    const auto e = std::ranges::find(entries_, number, &entry::number);
    if (e == entries_.end())
        return;
    close_later(e->kept.native);
    entries_.erase(e);
}

void ready_connections::close_lost() noexcept
{
    entries_.remove_if([](const entry& e) {
        if (!is_lost(*e.kept.socket))
            return false;
        close_later(e.kept.native);
        return true;
    });
}

void ready_connections::close_all() noexcept
{
    for (const auto& e : entries_)
        close_later(e.kept.native);
    entries_.clear();
}

} // namespace avirt::detail
