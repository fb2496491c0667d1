// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

namespace support {

/// While one lives, the thread that made it may sleep in epoll_wait only. The other functions that wait for
/// something are replaced, and note when they had to: that nothing blocks is seen without a clock. (A mutex
/// is not waited for with one of them; a thread that waits for one whose owner waits for the daemon hangs
/// here.)
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
