// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include <avirt/detail/failure.hpp>

#include <libvirt/virterror.h>

#include <cstdlib>
#include <memory>

namespace avirt {
namespace {

struct domain_free
{
    void operator()(virDomainPtr domain) const noexcept
    {
        virDomainFree(domain); // On a worker thread, with the connection held by the caller.
    }
};

using domain_ptr = std::unique_ptr<virDomain, domain_free>;

[[noreturn]] void throw_failure(detail::failure f)
{
    throw exception(f.code, std::move(f.details));
}

domain_ptr find_domain(virConnectPtr connection, const std::string& name_or_uuid)
{
    if (domain_ptr domain{virDomainLookupByName(connection, name_or_uuid.c_str())})
        return domain;
    auto by_name = detail::last_failure();
    if (by_name.details.code == VIR_ERR_NO_DOMAIN) {
        if (domain_ptr domain{virDomainLookupByUUIDString(connection, name_or_uuid.c_str())})
            return domain;
    }
    throw_failure(std::move(by_name));
}

[[noreturn]] void throw_not_running(detail::failure f)
{
    throw_failure(detail::refine(std::move(f), condition::guest_gone));
}

} // namespace

int console::operator()(virConnectPtr connection, virStreamPtr stream) const
{
    const auto vm = find_domain(connection, domain);
    if (virDomainOpenConsole(vm.get(), device.empty() ? nullptr : device.c_str(), stream, flags) >= 0)
        return 0;
    auto f = detail::last_failure();
    switch (f.details.code) {
    case VIR_ERR_OPERATION_FAILED: // "Active console session exists for this domain"
        throw_failure(detail::refine(std::move(f), condition::console_in_use));
    case VIR_ERR_OPERATION_INVALID:
        throw_not_running(std::move(f));
    case VIR_ERR_INTERNAL_ERROR: // "cannot find console device", "cannot find character device ..."
        throw_failure(detail::refine(std::move(f), condition::not_found));
    default:
        throw_failure(std::move(f));
    }
}

int screenshot::operator()(virConnectPtr connection, virStreamPtr stream) const
{
    const auto vm = find_domain(connection, domain);
    const std::unique_ptr<char, decltype(&std::free)> type(
        virDomainScreenshot(vm.get(), stream, screen, 0), &std::free);
    if (type)
        return 0;
    auto f = detail::last_failure();
    if (f.details.code == VIR_ERR_OPERATION_INVALID)
        throw_not_running(std::move(f));
    throw_failure(std::move(f));
}

} // namespace avirt
