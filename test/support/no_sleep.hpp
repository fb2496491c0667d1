// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

namespace support {

/// While an object of this class exists, the thread that created it may sleep in epoll_wait only. The other
/// functions that wait are replaced, and record when they had to wait: this shows without a clock that
/// nothing blocks. (Locking a mutex uses none of them. A thread that waits for a mutex whose owner waits for
/// the daemon hangs here.)
class no_sleep
{
public:
    no_sleep() noexcept;
    ~no_sleep();
    no_sleep(const no_sleep&) = delete;
    no_sleep& operator=(const no_sleep&) = delete;

    /// The functions in which the thread slept, each with a backtrace.
    const std::vector<std::string>& violations() const noexcept
    {
        return violations_;
    }

private:
    friend struct sleep_observer;

    no_sleep* outer_;
    std::vector<std::string> violations_;
};

} // namespace support
