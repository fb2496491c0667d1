// SPDX-License-Identifier: BSL-1.0
#include "stream/find_volume.hpp"

#include "stream/opener_failure.hpp"

#include <boost/system/errc.hpp>
#include <libvirt/virterror.h>

#include <memory>
#include <string>
#include <utility>

namespace avirt::detail {
namespace {

struct pool_free
{
    void operator()(virStoragePoolPtr pool) const noexcept
    {
        virStoragePoolFree(pool);
    }
};

using pool_ptr = std::unique_ptr<virStoragePool, pool_free>;

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

} // namespace

volume_ptr find_volume(virConnectPtr connection, const volume_locator& where)
{
    const auto found = [](virStorageVolPtr volume) {
        if (!volume)
            throw_failure(last_failure());
        return volume_ptr(volume);
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

} // namespace avirt::detail
