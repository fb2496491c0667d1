// SPDX-License-Identifier: BSL-1.0
#include "host/domain_status.hpp"

#include <avirt/detail/failure.hpp>

#include <libvirt/virterror.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
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

bool is_called(const domain_status& d, std::string_view text) noexcept
{
    const auto as_libvirt_writes = [](char c) {
        return static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c);
    };
    return d.name == text || std::ranges::equal(d.uuid, text, {}, {}, as_libvirt_writes);
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

namespace {

struct array_free
{
    void operator()(virDomainPtr* array) const noexcept
    {
        std::free(array); // virConnectListAllDomains allocates it with malloc.
    }
};

struct stats_free
{
    void operator()(virDomainStatsRecordPtr* records) const noexcept
    {
        virDomainStatsRecordListFree(records);
    }
};

using states = std::map<std::string, domain_status>; // by UUID

domain another_reference(virDomainPtr d) noexcept
{
    virDomainRef(d);
    return domain(d);
}

int parameter(const virDomainStatsRecord& record, const char* name, int otherwise) noexcept
{
    int value = otherwise;
    virTypedParamsGetInt(record.params, record.nparams, name, &value);
    return value;
}

/// Asks for the states of all domains at once. Returns nothing if the driver cannot tell them so.
std::optional<states> all_states(virConnectPtr connection)
{
    virDomainStatsRecordPtr* records = nullptr;
    const int count = virConnectGetAllDomainStats(connection, VIR_DOMAIN_STATS_STATE, &records, 0);
    if (count < 0) {
        auto f = last_failure();
        if (f.code == condition::connection_lost)
            throw exception(f.code, std::move(f.details));
        return std::nullopt;
    }
    const std::unique_ptr<virDomainStatsRecordPtr, stats_free> owner(records);
    states result;
    for (const auto* record : std::span(records, static_cast<std::size_t>(count))) {
        auto status = identity_of(another_reference(record->dom));
        status.state = parameter(*record, "state.state", VIR_DOMAIN_NOSTATE);
        status.reason = parameter(*record, "state.reason", 0);
        result.insert_or_assign(status.uuid, std::move(status));
    }
    return result;
}

/// As status_of(), but without a state if the user may list the domain but not read it.
std::optional<domain_status> status_of_listed(domain d)
{
    try {
        return status_of(d.ref());
    }
    catch (const exception& e) {
        if (e.code() == condition::connection_lost)
            throw;
        return identity_of(std::move(d));
    }
}

} // namespace

std::vector<domain_status> list_domains(virConnectPtr connection)
{
    virDomainPtr* array = nullptr;
    const int count = virConnectListAllDomains(connection, &array, 0);
    if (count < 0)
        throw_last_error();
    const std::unique_ptr<virDomainPtr, array_free> owner(array);
    std::vector<domain> listed(array, array + count);
    auto known = all_states(connection);
    std::vector<domain_status> result;
    result.reserve(listed.size());
    for (auto& d : listed) {
        if (!known) {
            if (auto status = status_of_listed(std::move(d)))
                result.push_back(std::move(*status));
            continue;
        }
        // A domain without a state is one that the user may not read, or that has ceased to exist since it
        // was listed; an event tells the latter.
        auto identity = identity_of(std::move(d));
        const auto found = known->find(identity.uuid);
        result.push_back(found == known->end() ? std::move(identity) : std::move(found->second));
    }
    return result;
}

} // namespace avirt::detail
