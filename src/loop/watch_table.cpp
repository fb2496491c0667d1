// SPDX-License-Identifier: BSL-1.0
#include "loop/watch_table.hpp"

#include "loop/watch_events.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace avirt::detail {
namespace {

bool is_open(int fd) noexcept
{
    return ::fcntl(fd, F_GETFD) >= 0;
}

} // namespace

void watch_table::open(std::span<const int> wake_fds)
{
    if (!epoll_)
        epoll_ = epoll_set(wake_fds);
}

void watch_table::close() noexcept
{
    epoll_ = epoll_set();
    may_be_stale_ = has_seen_stale_ = false;
    // Generations go on: an event fetched from the old set must not match an entry of the next one.
}

watch_table::entry& watch_table::entry_of(int fd)
{
    const auto index = static_cast<std::size_t>(fd);
    if (index >= entries_.size())
        entries_.resize(std::max(index + 1, entries_.size() * 2));
    return entries_[index];
}

int watch_table::wanted_events(const watch& w) noexcept
{
    const int events = w.reading == flow::paused ? 0 : w.events;
    return w.awaits_writable ? events | VIR_EVENT_HANDLE_WRITABLE : events;
}

std::uint32_t watch_table::wanted_mask(const entry& e) noexcept
{
    int events = 0;
    for (auto slot = e.first; slot != none; slot = watches_[slot].next)
        events |= wanted_events(watches_[slot]);
    return to_epoll(events);
}

/// Puts a new file into the set. Returns 0 or an errno.
int watch_table::enter(int fd, entry& e) noexcept
{
    ++e.generation;
    e.in_set = false;
    const auto mask = wanted_mask(e);
    int result = epoll_.add(fd, e.generation, mask);
    if (result == EEXIST) // Left behind by a watch that was removed while the number meant no file.
        result = epoll_.modify(fd, e.generation, mask);
    if (result == EPERM) {
        always_ready_.add(fd);
        return 0;
    }
    e.in_set = result == 0;
    e.mask = mask;
    return result;
}

/// Brings the set up to date with the watches of the fd.
void watch_table::apply(int fd, entry& e) noexcept
{
    const auto mask = wanted_mask(e);
    if (!e.in_set || mask == e.mask)
        return;
    if (epoll_.modify(fd, e.generation, mask) == 0)
        e.mask = mask;
    else
        orphan(fd, e);
}

void watch_table::apply(const watch& w) noexcept
{
    if (!w.orphaned)
        apply(w.fd, entries_[static_cast<std::size_t>(w.fd)]);
}

bool watch_table::is_same_file(int fd, const entry& e) const noexcept
{
    return e.in_set ? epoll_.modify(fd, e.generation, e.mask) == 0 : always_ready_.contains(fd);
}

/// The number means another file now, or none: its watches are told nothing more until they are removed.
void watch_table::orphan(int fd, entry& e) noexcept
{
    for (auto slot = e.first; slot != none;) {
        auto& w = watches_[slot];
        w.orphaned = true;
        slot = std::exchange(w.next, none);
    }
    may_be_stale_ = may_be_stale_ || e.in_set;
    always_ready_.remove(fd);
    ++e.generation;
    e.first = none;
    e.in_set = false;
}

void watch_table::leave(int fd, entry& e) noexcept
{
    if (e.in_set && epoll_.remove(fd) != 0)
        may_be_stale_ = true;
    always_ready_.remove(fd);
    ++e.generation;
    e.in_set = false;
}

int watch_table::add(watch&& w)
{
    const int fd = w.fd;
    // A number far above those of the open files would cost an entry for each number below it.
    if (fd < 0 || (static_cast<std::size_t>(fd) >= entries_.size() && !is_open(fd)))
        return -1;
    auto& e = entry_of(fd);
    always_ready_.reserve_one();
    if (e.first != none && !is_same_file(fd, e))
        orphan(fd, e);
    const bool is_first = e.first == none;

    const auto slot = watches_.insert(std::move(w));
    auto* end = &e.first; // Watches of one fd are served in the order they were added.
    while (*end != none)
        end = &watches_[*end].next;
    *end = slot;
    if (is_first && enter(fd, e) != 0) {
        e.first = none;
        watches_.erase(slot);
        return -1;
    }
    apply(fd, e);
    return watches_[slot].id;
}

void watch_table::update(int id, int events, disabling when) noexcept
{
    const auto slot = watches_.find(id);
    if (slot == none || watches_[slot].events == events)
        return;
    auto& w = watches_[slot];
    w.events = events;
    if (events != 0 || when == disabling::at_once)
        apply(w);
}

watch_table::watch* watch_table::find(int id) noexcept
{
    const auto slot = watches_.find(id);
    return slot != none ? &watches_[slot] : nullptr;
}

watch_table::watch* watch_table::find_watch_of_socket(int id) noexcept
{
    auto* w = find(id);
    return w && w->socket ? w : nullptr;
}

void watch_table::pause(int id) noexcept
{
    auto* w = find_watch_of_socket(id);
    if (w && w->reading == flow::open)
        w->reading = flow::pause_requested;
}

void watch_table::resume(int id) noexcept
{
    auto* w = find_watch_of_socket(id);
    if (w && std::exchange(w->reading, flow::open) == flow::paused)
        apply(*w);
}

void watch_table::await_writable(int id) noexcept
{
    auto* w = find_watch_of_socket(id);
    if (w && !std::exchange(w->awaits_writable, true))
        apply(*w);
}

watch_table::watch watch_table::remove(int id) noexcept
{
    const auto slot = watches_.find(id);
    if (slot == none)
        return {};
    watch removed = watches_.erase(slot);
    if (!removed.orphaned) {
        auto& e = entries_[static_cast<std::size_t>(removed.fd)];
        auto* link = &e.first;
        while (*link != slot)
            link = &watches_[*link].next;
        *link = removed.next;
        if (e.first == none)
            leave(removed.fd, e);
        else
            apply(removed.fd, e);
    }
    return removed;
}

watch_table::watch* watch_table::find(const ready& r) noexcept
{
    auto& w = watches_[r.slot];
    return w.id == r.id && !w.orphaned ? &w : nullptr;
}

/// Returns whether the set has to be brought up to date.
bool watch_table::append(entry& e, std::uint32_t epoll_events, std::vector<ready>& out)
{
    bool has_changed = false;
    const int events = from_epoll(epoll_events);
    const bool has_died = means_death(epoll_events);
    for (auto slot = e.first; slot != none; slot = watches_[slot].next) {
        auto& w = watches_[slot];
        ready r{slot, w.id, 0, false, false};
        if (w.reading == flow::open && w.events != 0)
            r.events = events_to_report(w.fd, w.events, events);
        else if (w.reading == flow::open)
            has_changed = true; // It may have been disabled lazily.
        else if (w.reading == flow::pause_requested)
            w.reading = flow::pause_seen;
        else if (w.reading == flow::pause_seen) {
            w.reading = flow::paused;
            has_changed = true;
        }
        if (w.socket) {
            r.hung_up = has_died && (w.reading != flow::open || w.events == 0);
            if (w.awaits_writable && (has_died || (events & VIR_EVENT_HANDLE_WRITABLE))) {
                w.awaits_writable = false;
                r.writable = true;
                has_changed = true;
            }
        }
        if (r.events != 0 || r.writable || r.hung_up)
            out.push_back(r);
    }
    return has_changed;
}

void watch_table::collect(const epoll_event& event, std::vector<ready>& out)
{
    const auto fd = epoll_set::fd_of(event);
    auto& e = entries_[fd];
    if (e.generation == epoll_set::generation_of(event)) {
        if (append(e, event.events, out))
            apply(static_cast<int>(fd), e);
    }
    else
        has_seen_stale_ = may_be_stale_;
}

bool watch_table::has_always_ready() noexcept
{
    for (std::size_t i = 0; i < always_ready_.size(); ++i) {
        const auto& e = entries_[static_cast<std::size_t>(always_ready_.fd(i))];
        if ((wanted_mask(e) & (EPOLLIN | EPOLLOUT)) != 0)
            return true;
    }
    return false;
}

void watch_table::collect_always_ready(std::vector<ready>& out)
{
    for (std::size_t i = 0; i < always_ready_.size();) {
        const int fd = always_ready_.fd(i);
        auto& e = entries_[static_cast<std::size_t>(fd)];
        if (always_ready_.is_same_file(i)) {
            append(e, EPOLLIN | EPOLLOUT, out);
            ++i;
        }
        else {
            orphan(fd, e); // Removes it from the list.
        }
    }
}

// Other threads close files, and open others under the same numbers, while this runs. The new set may take
// the wrong file under a number: only the old set tells afterwards, by ENOENT, whether it is the watched one.
void watch_table::rebuild(std::span<const int> wake_fds)
{
    const auto old = std::exchange(epoll_, epoll_set(wake_fds));
    may_be_stale_ = has_seen_stale_ = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        auto& e = entries_[i];
        if (!e.in_set)
            continue;
        const int fd = static_cast<int>(i);
        e.in_set = epoll_.add(fd, e.generation, e.mask) == 0;
        if (e.in_set && old.modify(fd, e.generation, e.mask) == 0)
            continue;
        if (e.in_set)
            e.in_set = epoll_.remove(fd) != 0; // Otherwise it is a stale registration of the new set.
        orphan(fd, e);
    }
}

void watch_table::disown() noexcept
{
    epoll_.disown();
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    ::close(ends[1]); // libvirt finds that the peer of the other end is gone.
    const unique_fd nowhere(ends[0]);
    for (const auto& e : entries_) {
        for (auto slot = e.first; slot != none; slot = watches_[slot].next) {
            auto& w = watches_[slot];
            if (!w.socket || w.orphaned)
                continue;
            ::dup3(nowhere.get(), w.fd, O_CLOEXEC);
            w.socket->command = {};
        }
    }
}

void watch_table::rebuild_after_fork(std::span<const int> wake_fds)
{
    epoll_ = epoll_set(wake_fds);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        auto& e = entries_[i];
        if (!e.in_set)
            continue;
        const int fd = static_cast<int>(i);
        e.mask = wanted_mask(e); // Changes since the fork have reached the table alone.
        const bool is_dropped = e.first != none && watches_[e.first].is_dropped_in_child;
        if (is_dropped || epoll_.add(fd, e.generation, e.mask) != 0)
            orphan(fd, e);
    }
    may_be_stale_ = has_seen_stale_ = false;
}

} // namespace avirt::detail
