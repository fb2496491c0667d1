// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

#include <memory>
#include <string>

namespace avirt::detail {

struct domain_free
{
    void operator()(virDomainPtr domain) const noexcept
    {
        virDomainFree(domain); // Does not close the connection: the caller holds it.
    }
};

using domain_ptr = std::unique_ptr<virDomain, domain_free>;

/// Finds a domain by its name or UUID. Blocks, and throws avirt::exception if there is no such domain.
domain_ptr find_domain(virConnectPtr connection, const std::string& name_or_uuid);

} // namespace avirt::detail
