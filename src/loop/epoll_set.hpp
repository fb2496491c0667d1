// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"

#include <sys/epoll.h>

#include <cstdint>
#include <span>

namespace avirt::detail {

/// An epoll set. Each registration carries the fd and a generation, which tells the events of one file from
/// those of another file that later gets the same number.
class epoll_set
{
public:
    /// The data of a wake fd's event.
    static constexpr std::uint64_t wake_tag = ~std::uint64_t{0};

    /// No set: there is none until one is assigned.
    epoll_set() = default;
    /// Creates the set, with the wake fds in it; throws system_error.
    explicit epoll_set(std::span<const int> wake_fds);

    explicit operator bool() const noexcept
    {
        return static_cast<bool>(set_);
    }

    int fd() const noexcept
    {
        return set_.get();
    }

    // Each returns 0 or an errno. ENOENT means that the number belongs to another file now, or to none.
    int add(int fd, std::uint32_t generation, std::uint32_t mask) const noexcept;
    int modify(int fd, std::uint32_t generation, std::uint32_t mask) const noexcept;
    int remove(int fd) const noexcept;

    /// In a forked child, which shares the set with its parent: from now on changes do nothing and return 0.
    void disown() noexcept
    {
        is_disowned_ = true;
    }

    bool is_disowned() const noexcept
    {
        return is_disowned_;
    }

    static std::uint32_t fd_of(const epoll_event& event) noexcept
    {
        return static_cast<std::uint32_t>(event.data.u64);
    }

    static std::uint32_t generation_of(const epoll_event& event) noexcept
    {
        return static_cast<std::uint32_t>(event.data.u64 >> 32);
    }

private:
    int control(int operation, int fd, std::uint32_t generation, std::uint32_t mask) const noexcept;

    unique_fd set_;
    bool is_disowned_ = false;
};

} // namespace avirt::detail
