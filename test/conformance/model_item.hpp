// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "harness.hpp"
#include "model_file.hpp"
#include "random_stream.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

namespace conformance {

/// A watch or a timeout, and what it was last asked for. That determines what its callback may report, and
/// when the callback may be called.
///
/// Each call is checked when it begins, in addition to the checks of registration. If another thread updates
/// or removes the item, one call may be under way that does not know of it yet. There is only one, because no
/// two callbacks run at the same time.
class model_item
{
public:
    using action = std::function<void(model_item&)>;

    /// @param file: null for a timeout.
    /// @param is_raced: the item is updated without a lock, so that what it was last asked for is unknown
    /// while others act.
    model_item(model_file* file, bool is_raced, random_stream random);

    /// Registers the item. Its callback and its free callback call `act`.
    void start(loop_fixture& loop, int asked, const action& act);

    void update(int asked);
    /// To be called while no call is under way and no other thread acts. Afterwards it is known what the item
    /// was last asked for, even if the item is raced.
    void settle_on(int asked);
    void remove();

    const model_file* file() const noexcept
    {
        return file_;
    }
    int id() const noexcept
    {
        return registration_.load()->id();
    }
    int calls() const noexcept
    {
        return registration_.load()->calls();
    }
    bool is_freed() const noexcept
    {
        return registration_.load()->frees() > 0;
    }
    bool is_removed() const noexcept
    {
        return removals_ > 0;
    }
    bool is_removed_once() const noexcept
    {
        return successful_removals_ == 1;
    }
    bool is_raced() const noexcept
    {
        return is_raced_;
    }
    std::string name() const;

    /// To be called while no thread acts. Returns the events that have to be reported to the item from now
    /// on, or 0; for a timeout that has to be called, 1.
    int due() const;
    /// Whether the item may or may not be called: its fd was closed, but its file lives on.
    bool is_unpredictable() const noexcept;

    void count_from_here() noexcept;
    int calls_from_here() const noexcept
    {
        return calls() - calls_before_;
    }
    /// Whether it has been called again and again: more often than a loop calls it at one go, or a few times
    /// if it has to wait for its interval.
    bool is_served_from_here() const noexcept
    {
        return calls_from_here() >= (file_ || asked_ == 0 ? 40 : 3);
    }
    int events_from_here() const noexcept
    {
        return events_from_here_;
    }

    /// Random numbers for its callback and its free callback.
    random_stream random;

private:
    void check(const registration& self);
    bool is_asked_for(int events) const noexcept;

    static constexpr int anything = -2; // neither an event mask nor an interval in use

    model_file* const file_;
    const bool is_raced_;
    std::atomic<registration*> registration_{nullptr};
    std::atomic<int> removals_{0};
    std::atomic<int> successful_removals_{0};

    std::mutex mutex_; // held around libvirt's six functions, as libvirt does
    int asked_ = 0;
    int belated_ = 0; // calls that may be under way and do not know of the latest update
    int calls_after_removal_ = 0;
    int events_from_here_ = 0;
    int calls_before_ = 0;
};

} // namespace conformance
