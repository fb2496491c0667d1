// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/domain_state.hpp>

#include <libvirt/libvirt.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

// What is asked of domains on worker threads. All throw avirt::exception.
namespace avirt::detail {

struct domain_free
{
    void operator()(virDomainPtr domain) const noexcept
    {
        virDomainFree(domain); // On a worker thread, with the connection held by the caller.
    }
};

using domain_ptr = std::unique_ptr<virDomain, domain_free>;

domain_ptr find_domain(virConnectPtr connection, const std::string& name_or_uuid);

/// All but the state, which asks nobody.
domain_status identity_of(domain d);

/// Nothing where it does not exist any more.
std::optional<domain_status> status_of(domain d);

std::vector<domain_status> list_domains(virConnectPtr connection);

} // namespace avirt::detail
