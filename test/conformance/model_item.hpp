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

/// A watch or a timeout, and what it was asked for last: what its callback may say, and when it may come.
///
/// Each call is checked, beyond what registration checks, at the moment it begins. Where another thread
/// updates or removes, one call may be under way that does not know of it yet; only one, as no two run at
/// the same time.
class model_item
{
public:
    using action = std::function<void(model_item&)>;

    /// @param file: null for a timeout.
    /// @param is_raced: updated without a lock, so that while others act nobody knows what it was asked for.
    model_item(model_file* file, bool is_raced, random_stream random);

    /// Adds it. Its callback and its free callback act.
    void start(loop_fixture& loop, int asked, const action& act);

    void update(int asked);
    /// Where no call is under way and nobody else acts: now it is known what a raced one was asked for.
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

    /// Where nobody acts: what has to be reported to it from now on (0: nothing), a timeout's call being 1.
    int due() const;
    /// Whether nobody can say if it is called: its number was closed, its file lives on.
    bool is_haunted() const noexcept;

    void count_from_here() noexcept;
    int calls_from_here() const noexcept
    {
        return calls() - calls_before_;
    }
    /// Whether it has been called again and again: oftener than a loop calls it at one go, where time allows.
    bool is_served_from_here() const noexcept
    {
        return calls_from_here() >= (file_ || asked_ == 0 ? 40 : 3);
    }
    int events_from_here() const noexcept
    {
        return events_from_here_;
    }

    /// Its callback's and its free callback's.
    random_stream random;

private:
    void check(const registration& self);
    bool is_asked_for(int events) const noexcept;

    static constexpr int anything = -2; // neither events nor an interval that is ever asked for

    model_file* const file_;
    const bool is_raced_;
    std::atomic<registration*> registration_{nullptr};
    std::atomic<int> removals_{0};
    std::atomic<int> successful_removals_{0};

    std::mutex mutex_; // held around the six, as libvirt does
    int asked_ = 0;
    int belated_ = 0; // calls that may be under way and do not know of the latest update
    int calls_after_removal_ = 0;
    int events_from_here_ = 0;
    int calls_before_ = 0;
};

} // namespace conformance
