// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/deadline.hpp"

#include <avirt/detail/connection_impl.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

namespace avirt::detail {

/// Cancels all operations of a connection when a time is over, unless it is destroyed first.
///
/// No timer of Asio's: it would wake the process later, and every few minutes, although it was cancelled.
class time_limit
{
public:
    /// @param time zero or less: no limit.
    time_limit(std::chrono::milliseconds time, std::shared_ptr<connection_impl> connection)
        : limit_(time, [is_over = is_over_, connection = std::move(connection)] {
              *is_over = true;
              connection->cancel();
          })
    {
    }

    bool is_over() const noexcept
    {
        return *is_over_;
    }

private:
    const std::shared_ptr<std::atomic<bool>> is_over_ = std::make_shared<std::atomic<bool>>(false);
    const deadline limit_;
};

} // namespace avirt::detail
