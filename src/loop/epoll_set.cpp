// SPDX-License-Identifier: BSL-1.0
#include "loop/epoll_set.hpp"

#include <boost/system/system_error.hpp>

#include <cerrno>

namespace avirt::detail {

epoll_set::epoll_set(std::span<const int> wake_fds) : set_(::epoll_create1(EPOLL_CLOEXEC))
{
    bool ok = static_cast<bool>(set_);
    for (int fd : wake_fds) {
        // Edge-triggered: a wake-up needs no read.
        epoll_event event{};
        event.events = EPOLLIN | EPOLLET;
        event.data.u64 = wake_tag;
        ok = ok && ::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
    }
    if (!ok)
        throw boost::system::system_error(errno, boost::system::system_category(), "epoll");
}

int epoll_set::add(int fd, std::uint32_t generation, std::uint32_t mask) const noexcept
{
    return control(EPOLL_CTL_ADD, fd, generation, mask);
}

int epoll_set::modify(int fd, std::uint32_t generation, std::uint32_t mask) const noexcept
{
    return control(EPOLL_CTL_MOD, fd, generation, mask);
}

int epoll_set::remove(int fd) const noexcept
{
    return control(EPOLL_CTL_DEL, fd, 0, 0);
}

int epoll_set::control(int operation, int fd, std::uint32_t generation, std::uint32_t mask) const noexcept
{
    if (is_disowned_)
        return 0;
    epoll_event event{};
    event.events = mask;
    event.data.u64 = (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
    return ::epoll_ctl(set_.get(), operation, fd, &event) == 0 ? 0 : errno;
}

} // namespace avirt::detail
