// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/release_queue.hpp"
#include "loop/connection_socket.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>

namespace avirt::detail {

/// Functions to be called later on a clean stack: in particular free callbacks, which libvirt does not expect
/// inside its own calls (docs/libvirt.md, "The six callbacks"). Calls are reserved when something is
/// registered, so that removing it needs no memory. Guarded by the lock of event_tables, except for run().
class deferred_queue
{
public:
    struct call
    {
        virFreeCallback function = nullptr;
        void* argument = nullptr;
        /// Whether it blocks for a short time: it is called on a worker thread then.
        bool blocks = false;
        /// The socket of a connection that is lost. If it is not null, the function is called with the
        /// address of this member.
        std::shared_ptr<connection_socket> socket{};
    };

    class reservation;

    /// Reserves so many more calls.
    void reserve(std::size_t count)
    {
        std::list<call> added(count);
        reserved_.splice(reserved_.end(), added);
    }

    /// Gives up so many reserved calls.
    void cancel_reserved(std::size_t count) noexcept
    {
        for (; count > 0; --count)
            reserved_.pop_back();
    }

    /// Uses up a reserved call.
    void push(call c) noexcept
    {
        reserved_.front() = std::move(c);
        waiting_.splice(waiting_.end(), reserved_, reserved_.begin());
    }

    /// Number of functions that have not been called yet.
    std::size_t size() const noexcept
    {
        return waiting_.size() + left_;
    }

    /// Selects the calls for run(): those that wait now, so that a function that defers itself again cannot
    /// keep the loop busy; or the rest of the previous ones, if an exception has interrupted them. Returns
    /// whether there are any.
    bool take() noexcept
    {
        if (left_ == 0) {
            left_ = waiting_.size();
            batch_.splice(batch_.end(), waiting_);
        }
        return left_ != 0;
    }

    /// Makes the calls that take() has selected. For one thread at a time, without the lock.
    void run()
    {
        while (left_ != 0) {
            std::list<call> current;
            current.splice(current.begin(), batch_, batch_.begin());
            --left_;
            auto& next = current.front();
            if (next.socket)
                next.function(&next.socket);
            else if (next.blocks)
                release_apart(next.function, next.argument);
            else
                next.function(next.argument);
        }
    }

private:
    std::list<call> reserved_;
    std::list<call> waiting_;
    std::list<call> batch_;
    std::atomic<std::size_t> left_{0}; // of the batch
};

/// Reserves calls, and gives them up again unless they are kept.
class deferred_queue::reservation
{
public:
    reservation(deferred_queue& queue, std::uint32_t count) : queue_(queue), count_(count)
    {
        queue_.reserve(count);
    }

    ~reservation()
    {
        queue_.cancel_reserved(count_);
    }

    reservation(const reservation&) = delete;
    reservation& operator=(const reservation&) = delete;

    void keep() noexcept
    {
        count_ = 0;
    }

private:
    deferred_queue& queue_;
    std::uint32_t count_;
};

} // namespace avirt::detail
