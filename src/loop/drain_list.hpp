// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/pending_operation.hpp"

#include <cstdint>
#include <list>
#include <utility>

namespace avirt::detail {

/// The drains of one loop that are outstanding. Guarded by the loop's lock.
class drain_list
{
public:
    /// @param on_cancelled is called with the number of the drain, for cancel(), if it is cancelled.
    template <class OnCancelled>
    void start(
        wait_handler handler, const asio::any_io_executor& executor, error_details* details,
        OnCancelled on_cancelled)
    {
        auto& d = drains_.emplace_front();
        d.number = ++last_;
        on_cancel(
            handler, [on_cancelled = std::move(on_cancelled), number = d.number](asio::cancellation_type) {
                on_cancelled(number);
            });
        d.start(std::move(handler), executor, details);
    }

    void cancel(std::uint64_t number)
    {
        for (auto it = drains_.begin(); it != drains_.end(); ++it) {
            if (it->number == number) {
                it->complete(error_code(asio::error::operation_aborted));
                drains_.erase(it);
                return;
            }
        }
    }

    void complete_all(const error_code& ec)
    {
        for (auto& d : drains_)
            d.complete(ec);
        drains_.clear();
    }

    /// Takes the handlers out, to be destroyed without the lock: they may own the loop.
    drain_list take_all() noexcept
    {
        drain_list taken;
        taken.drains_.swap(drains_);
        return taken;
    }

private:
    struct drain : pending_operation<void(error_code)>
    {
        std::uint64_t number = 0;
    };

    std::list<drain> drains_;
    std::uint64_t last_ = 0;
};

} // namespace avirt::detail
