// SPDX-License-Identifier: BSL-1.0
#include "connection/find_domain.hpp"

#include <avirt/detail/failure.hpp>

#include <libvirt/virterror.h>

#include <utility>

namespace avirt::detail {

domain_ptr find_domain(virConnectPtr connection, const std::string& name_or_uuid)
{
    if (domain_ptr domain{virDomainLookupByName(connection, name_or_uuid.c_str())})
        return domain;
    auto by_name = last_failure();
    if (by_name.details.code == VIR_ERR_NO_DOMAIN) {
        if (domain_ptr domain{virDomainLookupByUUIDString(connection, name_or_uuid.c_str())})
            return domain;
    }
    throw exception(by_name.code, std::move(by_name.details));
}

} // namespace avirt::detail
