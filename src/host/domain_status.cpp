// SPDX-License-Identifier: BSL-1.0
#include "host/domain_status.hpp"

#include <avirt/detail/failure.hpp>

#include <libvirt/virterror.h>

#include <cstdlib>
#include <utility>

namespace avirt::detail {

domain_status identity_of(domain d)
{
    domain_status status;
    char uuid[VIR_UUID_STRING_BUFLEN] = {};
    if (virDomainGetUUIDString(d.get(), uuid) == 0)
        status.uuid = uuid;
    if (const char* name = virDomainGetName(d.get()))
        status.name = name;
    status.domain = std::move(d);
    return status;
}

std::optional<domain_status> status_of(domain d)
{
    auto status = identity_of(std::move(d));
    if (virDomainGetState(status.domain.get(), &status.state, &status.reason, 0) == 0)
        return status;
    auto f = last_failure();
    if (f.details.code == VIR_ERR_NO_DOMAIN)
        return std::nullopt;
    throw exception(f.code, std::move(f.details));
}

std::vector<domain_status> list_domains(virConnectPtr connection)
{
    struct array_free
    {
        void operator()(virDomainPtr* array) const noexcept
        {
            std::free(array); // virConnectListAllDomains allocates it with malloc.
        }
    };
    virDomainPtr* array = nullptr;
    const int count = virConnectListAllDomains(connection, &array, 0);
    if (count < 0)
        throw_last_error();
    const std::unique_ptr<virDomainPtr, array_free> owner(array);
    std::vector<domain> all(array, array + count);
    std::vector<domain_status> result;
    for (const auto& d : all) {
        try {
            if (auto status = status_of(d.ref()))
                result.push_back(std::move(*status));
        }
        catch (const exception& e) {
            if (e.code() == condition::connection_lost)
                throw;
            result.push_back(
                identity_of(d.ref())); // The user may be allowed to list a domain but not to read it.
        }
    }
    return result;
}

} // namespace avirt::detail
