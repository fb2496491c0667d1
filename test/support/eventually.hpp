// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <thread>

namespace support {

/// Waits until the condition holds, on a thread that does not run the loop. Returns false if it did not hold
/// in time; the limit is generous, and measures nothing.
template <class Condition>
bool eventually(Condition condition)
{
    using namespace std::chrono_literals;
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= end)
            return false;
        std::this_thread::sleep_for(100us);
    }
    return true;
}

} // namespace support
