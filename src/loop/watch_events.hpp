// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>
#include <sys/epoll.h>

#include <cstdint>

namespace avirt::detail {

// The events of libvirt's watches (VIR_EVENT_HANDLE_*) and those of epoll.

bool is_socket_with_unread_bytes(int fd) noexcept;

inline bool means_death(std::uint32_t epoll_events) noexcept
{
    return (epoll_events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
}

inline int from_epoll(std::uint32_t epoll_events) noexcept
{
    int events = 0;
    if (epoll_events & EPOLLIN)
        events |= VIR_EVENT_HANDLE_READABLE;
    if (epoll_events & EPOLLOUT)
        events |= VIR_EVENT_HANDLE_WRITABLE;
    if (epoll_events & EPOLLERR)
        events |= VIR_EVENT_HANDLE_ERROR;
    if (epoll_events & EPOLLHUP)
        events |= VIR_EVENT_HANDLE_HANGUP;
    return events;
}

/// The mask for what all watches of a file ask for together. If that is nothing, the mask is not
/// level-triggered and reports only the death of the file, once.
inline std::uint32_t to_epoll(int events) noexcept
{
    if (events == 0)
        return EPOLLRDHUP | EPOLLET;
    std::uint32_t mask = 0;
    if (events & VIR_EVENT_HANDLE_READABLE)
        mask |= EPOLLIN;
    if (events & VIR_EVENT_HANDLE_WRITABLE)
        mask |= EPOLLOUT;
    return mask;
}

/// What a watch that asks for @p wanted is told if @p events have happened on its file.
inline int events_to_report(int fd, int wanted, int events) noexcept
{
    constexpr int read_write = VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE;
    constexpr int error_hangup = VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP;
    const int reported = events & ((wanted & read_write) | error_hangup);
    // libvirt reads one message, then closes: a hang-up that is reported while bytes are unread loses them
    // (docs/libvirt.md, "Hang-up").
    const bool hides_hangup =
        (reported & error_hangup) && (wanted & VIR_EVENT_HANDLE_READABLE) && is_socket_with_unread_bytes(fd);
    return hides_hangup ? reported & ~error_hangup : reported;
}

} // namespace avirt::detail
