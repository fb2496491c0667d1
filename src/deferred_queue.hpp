// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "release_queue.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <cstddef>
#include <vector>

namespace avirt::detail {

/// What is to be called on a clean stack, free callbacks first of all. Not locked, but for run():
/// event_registry does that.
class deferred_queue
{
public:
    struct call
    {
        virFreeCallback function;
        void* argument;
        bool blocks = false; // for a short time: it runs on a worker thread
    };

    void push(call c)
    {
        waiting_.push_back(c);
    }

    /// How many have not been called yet.
    std::size_t size() const noexcept
    {
        return waiting_.size() + batch_.size() - called_;
    }

    /// Makes those that are there now the ones to run; false: there are none. One that defers itself anew
    /// must not keep us, and what an exception has cut off comes first.
    bool take() noexcept
    {
        if (called_ == batch_.size()) {
            batch_.clear();
            called_ = 0;
            batch_.swap(waiting_);
        }
        return !batch_.empty();
    }

    /// Calls what take() has found. For one thread, without the lock.
    void run()
    {
        while (called_ < batch_.size()) {
            const auto next = batch_[called_++];
            if (next.blocks)
                release_apart(next.function, next.argument);
            else
                next.function(next.argument);
        }
    }

private:
    std::vector<call> waiting_;
    std::vector<call> batch_;
    std::atomic<std::size_t> called_{0}; // of the batch
};

} // namespace avirt::detail
