// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/release_queue.hpp"
#include "loop/connection_socket.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <utility>

namespace avirt::detail {

/// What is to be called on a clean stack, free callbacks first of all. Room for it is made in advance, when
/// something is registered: to remove it needs no memory. Not locked, but for run(): event_registry does
/// that.
class deferred_queue
{
public:
    struct call
    {
        virFreeCallback function = nullptr;
        void* argument = nullptr;
        bool blocks = false; // for a short time: it runs on a worker thread
        /// Of a connection that is lost: the function is called with the address of this one.
        std::shared_ptr<connection_socket> socket{};
    };

    /// Makes room for so many calls more.
    void reserve(std::size_t count)
    {
        std::list<call> room(count);
        room_.splice(room_.end(), room);
    }

    /// They will not be.
    void unreserve(std::size_t count) noexcept
    {
        for (; count > 0; --count)
            room_.pop_back();
    }

    /// Takes up room that was made for it.
    void push(call c) noexcept
    {
        room_.front() = std::move(c);
        waiting_.splice(waiting_.end(), room_, room_.begin());
    }

    /// How many have not been called yet.
    std::size_t size() const noexcept
    {
        return waiting_.size() + left_;
    }

    /// Makes those that are there now the ones to run; false: there are none. One that defers itself anew
    /// must not keep us, and what an exception has cut off comes first.
    bool take() noexcept
    {
        if (left_ == 0) {
            left_ = waiting_.size();
            batch_.splice(batch_.end(), waiting_);
        }
        return left_ != 0;
    }

    /// Calls what take() has found. For one thread, without the lock.
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
    std::list<call> room_;
    std::list<call> waiting_;
    std::list<call> batch_;
    std::atomic<std::size_t> left_{0}; // of the batch
};

} // namespace avirt::detail
