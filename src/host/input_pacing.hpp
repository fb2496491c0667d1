// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstddef>

namespace avirt::detail {

/// Decides when to send the next packet of input to a guest that may not be reading.
///
/// The daemon stops reading from a connection on which five packets wait for the guest; it then misses the
/// answers to its PINGs, and drops the connection (docs/libvirt.md, "Sending"). Nothing reports what the
/// guest has taken. But a console has room for 4 KiB, and a guest that prints something runs. So after each
/// output of the guest, no more than 4 KiB are sent in small packets, and then four packets, each with
/// everything that has been written meanwhile.
class input_pacing
{
public:
    using clock = std::chrono::steady_clock;

    /// The guest has printed something.
    void heard() noexcept
    {
        small_ = 0;
        waiting_ = 0;
    }

    void sent(std::size_t size, clock::time_point now) noexcept
    {
        last_ = now;
        if (waiting_ == 0 && small_ + size <= room_of_console)
            small_ += size;
        else
            ++waiting_;
    }

    /// When the next packet may be sent; time_point::max(): not before the guest prints something.
    clock::time_point next() const noexcept
    {
        if (waiting_ == 0)
            return clock::time_point::min();
        return waiting_ < most_waiting ? last_ + interval : clock::time_point::max();
    }

private:
    static constexpr std::size_t room_of_console = 4096;
    static constexpr int most_waiting = 4;
    static constexpr clock::duration interval = std::chrono::seconds(1);

    std::size_t small_ = 0; // bytes in packets that the console had room for
    int waiting_ = 0;       // packets sent after those
    clock::time_point last_{};
};

} // namespace avirt::detail
