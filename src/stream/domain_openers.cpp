// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include "connection/find_domain.hpp"
#include "stream/domain_device.hpp"
#include "stream/opener_failure.hpp"
#include "stream/take_screenshot.hpp"

#include <libvirt/virterror.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace avirt {
namespace {

using detail::device_search;
using detail::failure;
using detail::last_failure;
using detail::refine;
using detail::throw_failure;

/// Explains why a device was refused. libvirt's error number says no more than that something went wrong; the
/// reason is found in the domain's XML.
failure explain_refusal(
    virDomainPtr vm, failure f, const detail::device_kind& kind, const std::string& device)
{
    const std::unique_ptr<char, decltype(&std::free)> xml(virDomainGetXMLDesc(vm, 0), &std::free);
    if (!xml)
        return f;
    switch (find_device(xml.get(), kind, device)) {
    case device_search::not_found:
        return refine(std::move(f), condition::not_found);
    case device_search::wrong_type:
        return refine(std::move(f), condition::not_supported);
    case device_search::found:
        break;
    }
    return f;
}

/// Returns whether the guest has ended, or is about to.
bool is_gone(virDomainPtr vm)
{
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(vm, &state, nullptr, 0) < 0)
        return last_failure().details.code == VIR_ERR_NO_DOMAIN;
    return state == VIR_DOMAIN_SHUTDOWN || state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED;
}

/// The same for a guest whose device cannot be opened. While QEMU dies, its devices are gone before libvirt
/// reports that the guest is (docs/libvirt.md, "Guests that die").
bool will_be_gone(virDomainPtr vm)
{
    constexpr std::chrono::milliseconds pause{20};
    for (std::chrono::milliseconds time_left{2000}; !is_gone(vm); time_left -= pause) {
        if (time_left <= pause)
            return false;
        std::this_thread::sleep_for(pause);
    }
    return true;
}

/// Explains a wrong state. libvirt has one error number for every wrong state; only the guest's own state
/// tells whether the guest is gone.
failure explain_state(virDomainPtr vm, failure f)
{
    return is_gone(vm) ? refine(std::move(f), condition::guest_gone) : f;
}

[[noreturn]] void throw_device_failure(
    virDomainPtr vm, const detail::device_kind& kind, const std::string& device)
{
    auto f = last_failure();
    if (f.code == condition::connection_lost)
        throw_failure(std::move(f));
    switch (f.details.code) {
    case VIR_ERR_OPERATION_FAILED: // "Active console session exists for this domain"
        throw_failure(refine(std::move(f), condition::console_in_use));
    case VIR_ERR_OPERATION_INVALID: // "domain is not running", among others
        throw_failure(explain_state(vm, std::move(f)));
    case VIR_ERR_INTERNAL_ERROR: // "cannot find character device ...", "... is not using a PTY"
        throw_failure(explain_refusal(vm, std::move(f), kind, device));
    case VIR_ERR_SYSTEM_ERROR:
        if (f.details.domain == VIR_FROM_STREAMS && will_be_gone(vm))
            f = refine(std::move(f), condition::guest_gone);
        throw_failure(std::move(f));
    default:
        throw_failure(std::move(f));
    }
}

} // namespace

int console::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    if (virDomainOpenConsole(vm.get(), device.empty() ? nullptr : device.c_str(), stream, flags) < 0)
        throw_device_failure(vm.get(), detail::console_kind, device);
    return 0;
}

int channel::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    if (virDomainOpenChannel(vm.get(), name.empty() ? nullptr : name.c_str(), stream, flags) < 0)
        throw_device_failure(vm.get(), detail::channel_kind, name);
    return 0;
}

int screenshot::operator()(virConnectPtr on, virStreamPtr stream) const
{
    detail::take_screenshot(*this, on, stream);
    return 0;
}

std::string detail::take_screenshot(const screenshot& what, virConnectPtr on, virStreamPtr stream)
{
    const auto vm = find_domain(on, what.domain);
    const std::unique_ptr<char, decltype(&std::free)> type(
        virDomainScreenshot(vm.get(), stream, what.screen, 0), &std::free);
    if (type)
        return type.get();
    auto f = last_failure();
    if (f.details.code == VIR_ERR_OPERATION_INVALID) // The guest may have no video device, for instance.
        f = explain_state(vm.get(), std::move(f));
    throw_failure(std::move(f));
}

} // namespace avirt
