// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "transfer/transfer_rate.hpp"

#include <avirt/transfer_limits.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

namespace avirt::detail {

/// What the copies of a transfer_limits share.
class shared_limits : public std::enable_shared_from_this<shared_limits>
{
public:
    /// A place among the transfers that run; default-constructed: none. The destructor gives it back.
    class place
    {
    public:
        place() = default;
        explicit place(std::shared_ptr<shared_limits> limits) noexcept : limits_(std::move(limits)) {}
        place(place&&) noexcept = default;

        place& operator=(place&& other) noexcept
        {
            std::swap(limits_, other.limits_);
            return *this;
        }

        ~place()
        {
            if (limits_)
                limits_->give_back_place();
        }

    private:
        std::shared_ptr<shared_limits> limits_;
    };

    using place_handler = asio::any_completion_handler<void(error_code, place)>;

    shared_limits(std::size_t max_transfers, std::uint64_t bytes_per_second) noexcept
        : max_transfers_(max_transfers),
          rate_(bytes_per_second)
    {
    }

    /// Waits for a place, first come, first served.
    void async_take_place(const asio::any_io_executor& executor, place_handler handler);

    transfer_rate& rate() noexcept
    {
        return rate_;
    }

private:
    struct waiter;

    void give_back_place() noexcept;

    const std::size_t max_transfers_;
    transfer_rate rate_;
    fork_safe_mutex mutex_;
    std::size_t taken_ = 0;
    std::deque<std::shared_ptr<waiter>> waiters_;
};

} // namespace avirt::detail
