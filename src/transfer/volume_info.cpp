// SPDX-License-Identifier: BSL-1.0
#include <avirt/volume_info.hpp>

#include "stream/find_volume.hpp"

#include <avirt/error.hpp>

#include <libvirt/virterror.h>

namespace avirt::detail {
namespace {

/// The size of the file or device; what it occupies if the driver does not tell.
std::uint64_t physical_size(virStorageVolPtr volume, const virStorageVolInfo& info)
{
    virStorageVolInfo physical{};
    if (virStorageVolGetInfoFlags(volume, &physical, VIR_STORAGE_VOL_GET_PHYSICAL) == 0)
        return physical.allocation;
    if (virGetLastErrorCode() != VIR_ERR_NO_SUPPORT)
        throw_last_error();
    return info.allocation;
}

} // namespace

volume_info volume_info_call::operator()(virConnectPtr connection) const
{
    const auto volume = find_volume(connection, volume_);
    virStorageVolInfo info{};
    if (virStorageVolGetInfo(volume.get(), &info) < 0)
        throw_last_error();
    return {info.type, info.capacity, info.allocation, physical_size(volume.get(), info)};
}

} // namespace avirt::detail
