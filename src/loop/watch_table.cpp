// SPDX-License-Identifier: BSL-1.0
#include "loop/watch_table.hpp"

#include <boost/system/system_error.hpp>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace avirt::detail {
namespace {

constexpr int read_write = VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE;
constexpr int error_hangup = VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;

// Not level-triggered: reports the death of the file once, and nothing else.
constexpr std::uint32_t dormant_mask = EPOLLRDHUP | EPOLLET;

int from_epoll(std::uint32_t events) noexcept
{
    int result = 0;
    if (events & EPOLLIN)
        result |= VIR_EVENT_HANDLE_READABLE;
    if (events & EPOLLOUT)
        result |= VIR_EVENT_HANDLE_WRITABLE;
    if (events & EPOLLERR)
        result |= VIR_EVENT_HANDLE_ERROR;
    if (events & EPOLLHUP)
        result |= VIR_EVENT_HANDLE_HANGUP;
    return result;
}

bool is_open(int fd) noexcept
{
    return ::fcntl(fd, F_GETFD) >= 0;
}

bool is_socket_with_unread_bytes(int fd) noexcept
{
    struct stat status;
    int unread = 0;
    return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) && ::ioctl(fd, FIONREAD, &unread) == 0
        && unread > 0;
}

std::uint64_t data_of(int fd, std::uint32_t generation) noexcept
{
    return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
}

int control(int set, int operation, int fd, std::uint32_t generation, std::uint32_t mask) noexcept
{
    epoll_event event{};
    event.events = mask;
    event.data.u64 = data_of(fd, generation);
    return ::epoll_ctl(set, operation, fd, &event) == 0 ? 0 : errno;
}

unique_fd make_set(std::span<const int> wake_fds)
{
    unique_fd set(::epoll_create1(EPOLL_CLOEXEC));
    bool ok = static_cast<bool>(set);
    for (int fd : wake_fds) {
        // Edge-triggered: a wake-up needs no read.
        epoll_event event{};
        event.events = EPOLLIN | EPOLLET;
        event.data.u64 = watch_table::wake_tag;
        ok = ok && ::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &event) == 0;
    }
    if (!ok)
        throw boost::system::system_error(errno, boost::system::system_category(), "epoll");
    return set;
}

} // namespace

void watch_table::open(std::span<const int> wake_fds)
{
    if (!epoll_)
        epoll_ = make_set(wake_fds);
}

void watch_table::close() noexcept
{
    epoll_ = unique_fd();
    ghosts_possible_ = ghost_seen_ = false;
    // Generations go on: an event fetched from the old set must not match an entry of the next.
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
    if (events == 0)
        return dormant_mask;
    std::uint32_t mask = 0;
    if (events & VIR_EVENT_HANDLE_READABLE)
        mask |= EPOLLIN;
    if (events & VIR_EVENT_HANDLE_WRITABLE)
        mask |= EPOLLOUT;
    return mask;
}

int watch_table::control(int operation, int fd, const entry& e, std::uint32_t mask) const noexcept
{
    return disowned_ ? 0 : detail::control(epoll_.get(), operation, fd, e.generation, mask);
}

// Puts a new file into the set; 0 or an errno.
int watch_table::enter(int fd, entry& e) noexcept
{
    ++e.generation;
    e.in_set = false;
    const auto mask = wanted_mask(e);
    int result = control(EPOLL_CTL_ADD, fd, e, mask);
    if (result == EEXIST) // Left behind by a watch that was removed while the number meant nothing.
        result = control(EPOLL_CTL_MOD, fd, e, mask);
    if (result == EPERM) {
        always_ready_.push_back({fd, identify(fd)});
        return 0;
    }
    e.in_set = result == 0;
    e.mask = mask;
    return result;
}

// Brings the set up to date with the watches of the fd.
void watch_table::apply(int fd, entry& e) noexcept
{
    const auto mask = wanted_mask(e);
    if (!e.in_set || mask == e.mask)
        return;
    if (control(EPOLL_CTL_MOD, fd, e, mask) == 0)
        e.mask = mask;
    else
        orphan(fd, e);
}

void watch_table::apply(const watch& w) noexcept
{
    if (!w.orphaned)
        apply(w.fd, entries_[static_cast<std::size_t>(w.fd)]);
}

watch_table::file_identity watch_table::identify(int fd) noexcept
{
    struct statx status;
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0)
        return {}; // No file's.
    return {
        status.stx_ino, status.stx_dev_major, status.stx_dev_minor, status.stx_btime.tv_sec,
        status.stx_btime.tv_nsec};
}

bool watch_table::is_same_file(int fd, const entry& e) const noexcept
{
    if (e.in_set)
        return control(EPOLL_CTL_MOD, fd, e, e.mask) == 0;
    return std::any_of(always_ready_.begin(), always_ready_.end(), [fd](const unpollable& file) {
        return file.fd == fd && file.identity == identify(fd);
    });
}

void watch_table::forget_always_ready(int fd) noexcept
{
    std::erase_if(always_ready_, [fd](const unpollable& file) { return file.fd == fd; });
}

// The number means another file now, or none: its watches get nothing any more, until they are removed.
void watch_table::orphan(int fd, entry& e) noexcept
{
    for (auto slot = e.first; slot != none;) {
        auto& w = watches_[slot];
        w.orphaned = true;
        slot = std::exchange(w.next, none);
    }
    ghosts_possible_ = ghosts_possible_ || e.in_set;
    forget_always_ready(fd);
    ++e.generation;
    e.first = none;
    e.in_set = false;
}

void watch_table::leave(int fd, entry& e) noexcept
{
    if (e.in_set && control(EPOLL_CTL_DEL, fd, e, 0) != 0)
        ghosts_possible_ = true;
    forget_always_ready(fd);
    ++e.generation;
    e.in_set = false;
}

int watch_table::add(watch&& w)
{
    const int fd = w.fd;
    // A number far beyond those of the open files would cost an entry for each below it.
    if (fd < 0 || (static_cast<std::size_t>(fd) >= entries_.size() && !is_open(fd)))
        return -1;
    auto& e = entry_of(fd);
    if (always_ready_.size() == always_ready_.capacity()) // Later nothing may fail for want of memory.
        always_ready_.reserve(2 * always_ready_.size() + 4);
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

void watch_table::update(int id, int events, bool is_brief) noexcept
{
    const auto slot = watches_.find(id);
    if (slot == none || watches_[slot].events == events)
        return;
    auto& w = watches_[slot];
    w.events = events;
    if (events != 0 || !is_brief)
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
        auto* socket = &e.first;
        while (*socket != slot)
            socket = &watches_[*socket].next;
        *socket = removed.next;
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

// Returns whether the interest of a watch has changed.
bool watch_table::append(entry& e, std::uint32_t epoll_events, std::vector<ready>& out)
{
    bool has_changed = false;
    const int events = from_epoll(epoll_events);
    const bool has_died = (epoll_events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
    for (auto slot = e.first; slot != none; slot = watches_[slot].next) {
        auto& w = watches_[slot];
        ready r{slot, w.id, 0, false, false};
        if (w.reading == flow::open && w.events != 0)
            r.events = to_report(w, events);
        else if (w.reading == flow::open)
            has_changed = true; // The kernel may not know yet.
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

int watch_table::to_report(const watch& w, int events) noexcept
{
    const int reported = events & ((w.events & read_write) | error_hangup);
    // libvirt reads one message, then closes: a hang-up reported with bytes still unread loses them
    // (docs/libvirt.md, "Hang-up").
    const bool hides_hangup = (reported & error_hangup) && (w.events & VIR_EVENT_HANDLE_READABLE)
        && is_socket_with_unread_bytes(w.fd);
    return hides_hangup ? reported & ~error_hangup : reported;
}

void watch_table::collect(const epoll_event& event, std::vector<ready>& out)
{
    const auto fd = static_cast<std::uint32_t>(event.data.u64);
    auto& e = entries_[fd];
    if (e.generation == event.data.u64 >> 32) {
        if (append(e, event.events, out))
            apply(static_cast<int>(fd), e);
    }
    else
        ghost_seen_ = ghosts_possible_;
}

bool watch_table::has_always_ready() noexcept
{
    return std::any_of(always_ready_.begin(), always_ready_.end(), [this](const unpollable& file) {
        return (wanted_mask(entries_[static_cast<std::size_t>(file.fd)]) & (EPOLLIN | EPOLLOUT)) != 0;
    });
}

void watch_table::collect_always_ready(std::vector<ready>& out)
{
    for (std::size_t i = 0; i < always_ready_.size();) {
        const auto file = always_ready_[i];
        auto& e = entries_[static_cast<std::size_t>(file.fd)];
        if (file.identity == identify(file.fd)) {
            append(e, EPOLLIN | EPOLLOUT, out);
            ++i;
        }
        else {
            orphan(file.fd, e); // Takes it out of the list.
        }
    }
}

// Files are closed, and numbers used again, while this runs. So only afterwards the old set tells, by
// ENOENT, whether what has entered the new one under a number is the file that is watched.
void watch_table::rebuild(std::span<const int> wake_fds)
{
    const auto old = std::exchange(epoll_, make_set(wake_fds));
    ghosts_possible_ = ghost_seen_ = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        auto& e = entries_[i];
        if (!e.in_set)
            continue;
        const int fd = static_cast<int>(i);
        e.in_set = control(EPOLL_CTL_ADD, fd, e, e.mask) == 0;
        if (e.in_set && detail::control(old.get(), EPOLL_CTL_MOD, fd, e.generation, e.mask) == 0)
            continue;
        if (e.in_set)
            e.in_set = control(EPOLL_CTL_DEL, fd, e, 0) != 0; // Then it is a ghost of the new set.
        orphan(fd, e);
    }
}

void watch_table::disown() noexcept
{
    disowned_ = true;
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    ::close(ends[1]); // To libvirt the other's peer is gone.
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
    disowned_ = false;
    epoll_ = make_set(wake_fds);
    for (std::size_t fd = 0; fd < entries_.size(); ++fd) {
        auto& e = entries_[fd];
        if (!e.in_set)
            continue;
        // What changed in the meantime changed the table alone.
        e.mask = wanted_mask(e);
        const auto first = e.first;
        if ((first != none && watches_[first].stays_in_parent)
            || control(EPOLL_CTL_ADD, static_cast<int>(fd), e, e.mask) != 0)
            orphan(static_cast<int>(fd), e);
    }
    ghosts_possible_ = ghost_seen_ = false;
}

} // namespace avirt::detail
