// SPDX-License-Identifier: BSL-1.0
#include "host/console_run.hpp"

#include "connection/find_domain.hpp"

#include <libvirt/virterror.h>

namespace avirt::detail {

failure console_run_opener::open(virConnectPtr connection, virStreamPtr stream) noexcept
{
    try {
        const auto guest = find_domain(connection, which_.domain);
        const auto run = static_cast<int>(virDomainGetID(guest.get())); // UINT_MAX: it does not run.
        if (run != no_run && run == ended_run_)
            return describe_failure(VIR_FROM_DOM, "the guest has ended", condition::guest_gone);
        if (which_(connection, stream) < 0)
            return last_failure();
        run_ = run;
        return {};
    }
    catch (...) {
        return current_failure();
    }
}

} // namespace avirt::detail
