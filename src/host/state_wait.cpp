// SPDX-License-Identifier: BSL-1.0
#include "host/state_wait.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <optional>
#include <utility>

namespace avirt::detail {
namespace {

/// The state in which a domain was when the lifecycle event was reported, if the event tells that.
std::optional<int> state_after(int event) noexcept
{
    switch (event) {
    case VIR_DOMAIN_EVENT_RESUMED:
        return VIR_DOMAIN_RUNNING;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        return VIR_DOMAIN_PAUSED;
    case VIR_DOMAIN_EVENT_SHUTDOWN:
        return VIR_DOMAIN_SHUTDOWN;
    case VIR_DOMAIN_EVENT_STOPPED:
        return VIR_DOMAIN_SHUTOFF;
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        return VIR_DOMAIN_PMSUSPENDED;
    case VIR_DOMAIN_EVENT_CRASHED:
        return VIR_DOMAIN_CRASHED;
    default:
        return std::nullopt;
    }
}

} // namespace

failure domain_gone()
{
    failure f(error_code(VIR_ERR_NO_DOMAIN, libvirt_category()));
    f.details.domain = VIR_FROM_DOM;
    f.details.code = f.code.value();
    f.details.message = "Domain not found: it went away before it was in the state that is waited for";
    return f;
}

bool state_sequence::reaches_state(int event) noexcept
{
    // A domain that starts paused is also reported as started. Only the next event tells whether it ran.
    const bool has_run = was_started_ && event != VIR_DOMAIN_EVENT_SUSPENDED;
    was_started_ = event == VIR_DOMAIN_EVENT_STARTED;
    return state_after(event) == awaited_ || (awaited_ == VIR_DOMAIN_RUNNING && has_run);
}

} // namespace avirt::detail
