// SPDX-License-Identifier: BSL-1.0
#include "loop/deadline.hpp"

#include "loop/event_registry.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

namespace avirt::detail {

deadline::deadline(std::chrono::milliseconds after, std::function<void()> function)
{
    if (after <= std::chrono::milliseconds(0))
        return;
    constexpr std::chrono::milliseconds::rep longest = std::numeric_limits<int>::max();
    auto argument = std::make_unique<std::function<void()>>(std::move(function));
    timer_ = event_registry::instance().add_internal_timeout(
        static_cast<int>(std::min(after.count(), longest)),
        [](int timer, void* f) {
            // First disable the timer, which fires once: the function may destroy the deadline.
            event_registry::instance().update_timeout(timer, -1);
            (*static_cast<std::function<void()>*>(f))();
        },
        argument.get(), [](void* f) { delete static_cast<std::function<void()>*>(f); });
    if (timer_ >= 0)
        static_cast<void>(argument.release());
}

deadline::~deadline()
{
    if (timer_ >= 0)
        event_registry::instance().remove_timeout(timer_);
}

} // namespace avirt::detail
