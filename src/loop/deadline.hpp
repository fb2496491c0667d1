// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>

namespace avirt::detail {

/// Calls a function on the loop when the time is over, unless it is destroyed first. A call may be under way
/// when it is destroyed.
class deadline
{
public:
    /// @param after zero or less: never. Never either if no event loop is bound, or if there is no memory.
    deadline(std::chrono::milliseconds after, std::function<void()> function);
    ~deadline();
    deadline(const deadline&) = delete;
    deadline& operator=(const deadline&) = delete;

    bool is_set() const noexcept
    {
        return timer_ >= 0;
    }

private:
    int timer_ = -1;
};

} // namespace avirt::detail
