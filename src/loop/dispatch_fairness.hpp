// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>

namespace avirt::detail {

/// Limits the rounds of one dispatch, so that other handlers of the context have their turn, and decides
/// which of them look at the files. A round serves every file that is ready and every timeout that is due
/// once: a timeout of 0 ms fires in each round (docs/libvirt.md, "Timeouts").
class dispatch_fairness
{
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// A round costs a system call, a dispatch two more: sixteen rounds keep the share of those two small.
    static constexpr int max_rounds = 16;

    /// No round but the first begins after this time: another handler of the context waits no longer than
    /// this and one round.
    static constexpr std::chrono::microseconds longest_dispatch{100};

    void begin_dispatch(time_point now) noexcept
    {
        start_ = now;
        round_ = 0;
        looks_at_files_ = true;
    }

    /// Whether there may be another round.
    bool has_round(time_point now) const noexcept
    {
        return round_ < max_rounds && now - start_ < longest_dispatch;
    }

    /// Whether this round looks at the files, which costs a system call.
    bool looks_at_files() const noexcept
    {
        return looks_at_files_;
    }

    /// @param has_found_files Whether this round has looked at the files and found some ready.
    void end_round(bool has_found_files) noexcept
    {
        if (has_found_files && round_ == 1)
            fruitless_second_looks_ = 0;
        // If no file was ready, 0 ms timeouts and files that are always ready have two rounds for each look.
        looks_at_files_ = has_found_files ? round_ > 0 || takes_second_look() : !looks_at_files_;
        ++round_;
    }

private:
    /// A second look finds files that were ready again when their callbacks returned. It costs one system
    /// call; without it the loop goes to sleep and is woken, which costs three. After several second looks
    /// that found nothing, as with input that comes key by key, only every eighth of them is taken.
    bool takes_second_look() noexcept
    {
        constexpr unsigned looks_in_vain = 4;
        constexpr unsigned pause = 8;
        const auto n = fruitless_second_looks_++;
        return n < looks_in_vain || n % pause == 0;
    }

    time_point start_{};
    int round_ = 0;
    bool looks_at_files_ = true;
    unsigned fruitless_second_looks_ = 0;
};

} // namespace avirt::detail
