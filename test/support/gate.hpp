// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace support {

/// Blocks functions, on any thread, until the gate is opened. The destructor opens it.
class gate
{
    struct state
    {
        std::mutex mutex;
        std::condition_variable changed;
        bool is_open = false;
        int arrived = 0;
        int passed = 0;

        void pass()
        {
            std::unique_lock lock(mutex);
            ++arrived;
            changed.wait(lock, [this] { return is_open; });
            ++passed;
        }
    };

public:
    gate() = default;
    gate(const gate&) = delete;
    gate& operator=(const gate&) = delete;

    ~gate()
    {
        open();
    }

    void open()
    {
        const std::lock_guard guard(state_->mutex);
        state_->is_open = true;
        state_->changed.notify_all();
    }

    int arrived() const
    {
        const std::lock_guard guard(state_->mutex);
        return state_->arrived;
    }

    int passed() const
    {
        const std::lock_guard guard(state_->mutex);
        return state_->passed;
    }

    /// Returns a function that waits for the gate to be opened and then returns the result. It may outlive
    /// the gate.
    auto entry(int result = 0) const
    {
        return [state = state_, result](auto...) {
            state->pass();
            return result;
        };
    }

private:
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

} // namespace support
