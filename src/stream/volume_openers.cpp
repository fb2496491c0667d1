// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include "stream/opener_failure.hpp"

#include <boost/system/errc.hpp>
#include <libvirt/virterror.h>

#include <memory>
#include <string>
#include <utility>

namespace avirt {
namespace {

using detail::last_failure;
using detail::throw_failure;

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

pool_ptr find_pool(virConnectPtr connection, const std::string& name_or_uuid)
{
    if (pool_ptr pool{virStoragePoolLookupByName(connection, name_or_uuid.c_str())})
        return pool;
    auto by_name = last_failure();
    if (by_name.details.code == VIR_ERR_NO_STORAGE_POOL) {
        if (pool_ptr pool{virStoragePoolLookupByUUIDString(connection, name_or_uuid.c_str())})
            return pool;
    }
    throw_failure(std::move(by_name));
}

virStorageVolPtr look_up_volume(virConnectPtr connection, const volume_locator& where)
{
    const auto found = [](virStorageVolPtr volume) {
        if (!volume)
            throw_failure(last_failure());
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
        throw_failure(last_failure());
    return 0;
}

} // namespace

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
