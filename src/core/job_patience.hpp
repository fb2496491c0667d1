// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <chrono>

namespace avirt::detail {

/// How long a job of the worker_pool may run before it is taken to be stuck: a few times as long as jobs have
/// taken of late, so that a busy daemon, or a busy machine, is not mistaken for one that does not answer.
class job_patience
{
public:
    using duration = std::chrono::steady_clock::duration;

    static constexpr std::chrono::milliseconds least{100}, most{200};

    duration get() const noexcept
    {
        return std::clamp<duration>(4 * mean_, least, most);
    }

    /// A job has returned after this time. Times above the longest patience count as that.
    void job_took(duration time) noexcept
    {
        mean_ += (std::min<duration>(time, most) - mean_) / 16;
    }

private:
    duration mean_ = std::chrono::milliseconds(25);
};

} // namespace avirt::detail
