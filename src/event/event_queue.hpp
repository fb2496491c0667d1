// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/event_source_impl.hpp>
#include <avirt/detail/failure.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

namespace avirt::detail {

/// The events that have not been received yet, up to a capacity, and among them the ends of earlier
/// subscriptions. If it overflows, the oldest item is dropped. Guarded by its owner's lock.
class event_queue
{
public:
    /// An event, or the reason why a subscription ended.
    struct item
    {
        std::unique_ptr<erased_event> event{};
        failure end_reason{};
    };

    explicit event_queue(std::size_t capacity) noexcept;

    bool empty() const noexcept
    {
        return items_.empty();
    }

    /// Adds an event; null, for which there was no memory, counts as lost. Returns the item that was dropped,
    /// if any. The caller destroys it outside the lock.
    item push(std::unique_ptr<erased_event> event) noexcept;

    /// Adds the end of a subscription, unless the last item is one.
    void push_end(failure reason);

    /// Removes the first item. The queue must not be empty.
    item pop();

    void clear() noexcept;

    /// Returns whether the queue has overflowed since the last call.
    bool take_overflow() noexcept;

    /// Returns the number of events that were lost since the last call.
    std::uint64_t take_lost() noexcept;

private:
    bool try_add(std::unique_ptr<erased_event> event) noexcept;

    const std::size_t capacity_;
    std::deque<item> items_;
    bool has_overflowed_ = false;
    std::uint64_t lost_ = 0;
};

} // namespace avirt::detail
