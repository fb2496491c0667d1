// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include "domains.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/system/errc.hpp>
#include <libvirt/virterror.h>

#include <cstdlib>
#include <memory>

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

[[noreturn]] void throw_not_running(detail::failure f)
{
    throw_failure(detail::refine(std::move(f), condition::guest_gone));
}

} // namespace

int console::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
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

int screenshot::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    const std::unique_ptr<char, decltype(&std::free)> type(
        virDomainScreenshot(vm.get(), stream, screen, 0), &std::free);
    if (type)
        return 0;
    auto f = detail::last_failure();
    if (f.details.code == VIR_ERR_OPERATION_INVALID)
        throw_not_running(std::move(f));
    throw_failure(std::move(f));
}

int channel::operator()(virConnectPtr on, virStreamPtr stream) const
{
    const auto vm = detail::find_domain(on, domain);
    if (virDomainOpenChannel(vm.get(), name.empty() ? nullptr : name.c_str(), stream, flags) >= 0)
        return 0;
    auto f = detail::last_failure();
    switch (f.details.code) {
    case VIR_ERR_OPERATION_FAILED: // "Active channel stream exists for this domain"
        throw_failure(detail::refine(std::move(f), condition::console_in_use));
    case VIR_ERR_OPERATION_INVALID:
        throw_not_running(std::move(f));
    case VIR_ERR_INTERNAL_ERROR: // "channel ... not found"
        throw_failure(detail::refine(std::move(f), condition::not_found));
    default:
        throw_failure(std::move(f));
    }
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
