// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/handle.hpp>

#include <libvirt/libvirt.h>

#include <string>

namespace avirt {

/// A domain, and the state that it was in when libvirt was asked.
struct domain_status
{
    /// Empty in a report if the domain is gone, or if the connection has been lost since.
    avirt::domain domain{};
    std::string name{};
    std::string uuid{};
    int state = VIR_DOMAIN_NOSTATE; ///< virDomainState; VIR_DOMAIN_NOSTATE if libvirt does not tell.
    int reason = 0;                 ///< The reason for that state, such as virDomainRunningReason.
};

} // namespace avirt
