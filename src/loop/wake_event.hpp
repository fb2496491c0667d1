// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"

#include <boost/system/system_error.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace avirt::detail {

/// An eventfd that wakes the loop from other threads.
class wake_event
{
public:
    /// Throws system_error.
    wake_event() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
    {
        if (!event_)
            throw boost::system::system_error(errno, boost::system::system_category(), "eventfd");
    }

    int fd() const noexcept
    {
        return event_.get();
    }

    void signal() const noexcept
    {
        // The epoll set watches it edge-triggered, so it is never read. It is full only after 2^64 signals.
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
    }

private:
    unique_fd event_;
};

} // namespace avirt::detail
