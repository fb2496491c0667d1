// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/stream_impl.hpp>
#include <avirt/openers.hpp>

#include <atomic>
#include <utility>

namespace avirt::detail {

/// Opens the console of a guest, but not of a run of the guest that has ended: as long as libvirt has not
/// noticed the end, it opens the path of the terminal that the guest had, which may be another guest's by
/// now (docs/libvirt.md, "Guests that die").
class console_run_opener final : public opener_base
{
public:
    /// The id of a guest that does not run.
    static constexpr int no_run = -1;

    /// @param ended_run The id (virDomainGetID) that the guest had in the run that has ended.
    console_run_opener(console which, int ended_run) : which_(std::move(which)), ended_run_(ended_run) {}

    failure open(virConnectPtr connection, virStreamPtr stream) noexcept override;

    bool is_console() const noexcept override
    {
        return true;
    }

    /// The id that the guest has in the run whose console has been opened.
    int run() const noexcept
    {
        return run_;
    }

private:
    const console which_;
    const int ended_run_;
    std::atomic<int> run_{no_run};
};

} // namespace avirt::detail
