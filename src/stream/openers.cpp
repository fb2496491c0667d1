// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include "connection/find_domain.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/system/errc.hpp>
#include <libvirt/virterror.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <thread>

namespace avirt {
namespace {

struct pool_free
{
    void operator()(virStoragePoolPtr pool) const noexcept
    {
        virStoragePoolFree(pool);
    }
};

using pool_ptr = std::unique_ptr<virStoragePool, pool_free>;

struct volume_free
{
    void operator()(virStorageVolPtr volume) const noexcept
    {
        virStorageVolFree(volume);
    }
};

using volume_ptr = std::unique_ptr<virStorageVol, volume_free>;

[[noreturn]] void throw_failure(detail::failure f)
{
    throw exception(f.code, std::move(f.details));
}

pool_ptr find_pool(virConnectPtr connection, const std::string& name_or_uuid)
{
    if (pool_ptr pool{virStoragePoolLookupByName(connection, name_or_uuid.c_str())})
        return pool;
    auto by_name = detail::last_failure();
    if (by_name.details.code == VIR_ERR_NO_STORAGE_POOL) {
        if (pool_ptr pool{virStoragePoolLookupByUUIDString(connection, name_or_uuid.c_str())})
            return pool;
    }
    throw_failure(std::move(by_name));
}

// Each libvirt call resets the last error, freeing an object too: failures are taken before anything ends.

virStorageVolPtr look_up_volume(virConnectPtr connection, const volume_locator& where)
{
    const auto found = [](virStorageVolPtr volume) {
        if (!volume)
            throw_failure(detail::last_failure());
        return volume;
    };
    if (!where.pool.empty() && !where.name.empty()) {
        const auto pool = find_pool(connection, where.pool);
        return found(virStorageVolLookupByName(pool.get(), where.name.c_str()));
    }
    if (!where.path.empty())
        return found(virStorageVolLookupByPath(connection, where.path.c_str()));
    if (!where.key.empty())
        return found(virStorageVolLookupByKey(connection, where.key.c_str()));
    throw exception(
        make_error_code(boost::system::errc::invalid_argument),
        {.message = "the locator names no volume: it needs pool and name, or path, or key"});
}

using volume_transfer =
    int (*)(virStorageVolPtr, virStreamPtr, unsigned long long, unsigned long long, unsigned);

int start_transfer(
    volume_transfer function, virConnectPtr connection, virStreamPtr stream, const volume_locator& where,
    std::uint64_t offset, std::uint64_t length, unsigned flags)
{
    const volume_ptr volume(look_up_volume(connection, where));
    if (function(volume.get(), stream, offset, length, flags) < 0)
        throw_failure(detail::last_failure());
    return 0;
}

// Devices of guests -----------------------------------------------------------------------------------------

/// What a stream can be opened on: the elements of a domain's XML that are looked through for it, in this
/// order, and the type that it has to be of.
struct device_kind
{
    std::span<const std::string_view> elements;
    std::string_view type;
};

constexpr std::string_view console_elements[] = {"console", "serial", "parallel"};
constexpr std::string_view channel_elements[] = {"channel"};
constexpr device_kind console_device{console_elements, "pty"};
constexpr device_kind channel_device{channel_elements, "unix"};

/// As libvirt writes an attribute of its XML.
std::string quoted(const std::string& text)
{
    std::string result = "'";
    for (const char c : text) {
        switch (c) {
        case '&':
            result += "&amp;";
            break;
        case '<':
            result += "&lt;";
            break;
        case '>':
            result += "&gt;";
            break;
        case '"':
            result += "&quot;";
            break;
        case '\'':
            result += "&apos;";
            break;
        default:
            result += c;
        }
    }
    return result + "'";
}

/// The attributes and the content of the device that has that alias or target name (empty: of the first
/// device); empty: there is none.
std::string_view find_device(std::string_view xml, const device_kind& kind, const std::string& name)
{
    const auto named = " name=" + quoted(name);
    for (const auto element : kind.elements) {
        const auto begin = "<" + std::string(element) + " ";
        const auto end = "</" + std::string(element) + ">";
        for (auto at = xml.find(begin); at != xml.npos; at = xml.find(begin, at + 1)) {
            const auto device = xml.substr(at + begin.size(), xml.find(end, at) - at - begin.size());
            if (name.empty() || device.find(named) != device.npos)
                return device;
        }
    }
    return {};
}

/// libvirt's number says no more than that something went wrong: the domain's XML says what.
detail::failure explain_refusal(
    virDomainPtr vm, detail::failure f, const device_kind& kind, const std::string& name)
{
    const std::unique_ptr<char, decltype(&std::free)> xml(virDomainGetXMLDesc(vm, 0), &std::free);
    if (!xml)
        return f;
    const auto device = find_device(xml.get(), kind, name);
    if (device.empty())
        return detail::refine(std::move(f), condition::not_found);
    if (!device.starts_with("type=" + quoted(std::string(kind.type))))
        return detail::refine(std::move(f), condition::not_supported);
    return f;
}

/// Whether the guest has ended, or is about to.
bool is_gone(virDomainPtr vm)
{
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(vm, &state, nullptr, 0) < 0)
        return detail::last_failure().details.code == VIR_ERR_NO_DOMAIN;
    return state == VIR_DOMAIN_SHUTDOWN || state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED;
}

/// The same for a guest whose device cannot be opened: while QEMU dies its devices are gone before libvirt
/// says that it is (docs/libvirt.md, "Guests that die").
bool will_be_gone(virDomainPtr vm)
{
    constexpr std::chrono::milliseconds pause{20};
    for (std::chrono::milliseconds patience{2000}; !is_gone(vm); patience -= pause) {
        if (patience <= pause)
            return false;
        std::this_thread::sleep_for(pause);
    }
    return true;
}

/// libvirt has one number for each wrong state: only the guest's own tells whether it is that.
detail::failure explain_state(virDomainPtr vm, detail::failure f)
{
    return is_gone(vm) ? detail::refine(std::move(f), condition::guest_gone) : f;
}

[[noreturn]] void throw_device_failure(virDomainPtr vm, const device_kind& kind, const std::string& name)
{
    auto f = detail::last_failure();
    if (f.code == condition::connection_lost)
        throw_failure(std::move(f));
    switch (f.details.code) {
    case VIR_ERR_OPERATION_FAILED: // "Active console session exists for this domain"
        throw_failure(detail::refine(std::move(f), condition::console_in_use));
    case VIR_ERR_OPERATION_INVALID: // "domain is not running", among others
        throw_failure(explain_state(vm, std::move(f)));
    case VIR_ERR_INTERNAL_ERROR: // "cannot find character device ...", "... is not using a PTY"
        throw_failure(explain_refusal(vm, std::move(f), kind, name));
    case VIR_ERR_SYSTEM_ERROR:
        if (f.details.domain == VIR_FROM_STREAMS && will_be_gone(vm))
            f = detail::refine(std::move(f), condition::guest_gone);
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
        throw_device_failure(vm.get(), console_device, device);
    return 0;
}

int screenshot::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    const std::unique_ptr<char, decltype(&std::free)> type(
        virDomainScreenshot(vm.get(), stream, screen, 0), &std::free);
    if (type)
        return 0;
    auto f = detail::last_failure();
    if (f.details.code == VIR_ERR_OPERATION_INVALID) // Where it has no video device, among others.
        f = explain_state(vm.get(), std::move(f));
    throw_failure(std::move(f));
}

int channel::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    if (virDomainOpenChannel(vm.get(), name.empty() ? nullptr : name.c_str(), stream, flags) < 0)
        throw_device_failure(vm.get(), channel_device, name);
    return 0;
}

int volume_download::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const unsigned flags = sparse ? VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM : 0;
    return start_transfer(&virStorageVolDownload, on, stream, volume, offset, length, flags);
}

int volume_upload::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const unsigned flags = sparse ? VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM : 0;
    return start_transfer(&virStorageVolUpload, on, stream, volume, offset, length, flags);
}

} // namespace avirt
