// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/deadline.hpp"

#include <avirt/detail/connection_impl.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

namespace avirt::detail {

/// Cancels all operations of a connection when a time is over, unless it is ended first.
///
/// No timer of Asio's: it would wake the process later, and every few minutes, although it was cancelled.
class time_limit
{
public:
    /// @param time zero or less: no limit.
    time_limit(std::chrono::milliseconds time, std::shared_ptr<connection_impl> connection)
        : limit_(time, [is_decided = is_decided_, connection = std::move(connection)] {
              if (!is_decided->exchange(true))
                  connection->cancel();
          })
    {
    }

    /// Ends the limit, unless the time is over: then it returns false, and the operations are, or are about
    /// to be, cancelled.
    bool end() noexcept
    {
        return !is_decided_->exchange(true);
    }

private:
    // The function of the deadline may be under way when the deadline is destroyed.
    const std::shared_ptr<std::atomic<bool>> is_decided_ = std::make_shared<std::atomic<bool>>(false);
    const deadline limit_;
};

} // namespace avirt::detail
