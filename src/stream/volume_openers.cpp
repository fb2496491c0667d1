// SPDX-License-Identifier: BSL-1.0
#include <avirt/openers.hpp>

#include "stream/find_volume.hpp"
#include "stream/opener_failure.hpp"

#include <avirt/handle.hpp>

#include <libvirt/virterror.h>

#include <cstdint>
#include <utility>

namespace avirt {
namespace {

using detail::failure;
using detail::last_failure;
using detail::refine;
using detail::throw_failure;

using volume_transfer =
    int (*)(virStorageVolPtr, virStreamPtr, unsigned long long, unsigned long long, unsigned);

/// Explains a refusal. libvirt has one error number for every wrong state. If the pool is active, only a
/// volume that is being built, or copied from, is refused: that passes.
failure explain_refusal(virStorageVolPtr volume, failure f)
{
    if (f.details.code != VIR_ERR_OPERATION_INVALID || f.details.domain != VIR_FROM_STORAGE)
        return f;
    const storage_pool pool{virStoragePoolLookupByVolume(volume)};
    const bool is_active = pool && virStoragePoolIsActive(pool.get()) == 1;
    return is_active ? refine(std::move(f), condition::busy) : f;
}

int start_transfer(
    volume_transfer function, virConnectPtr connection, virStreamPtr stream, const volume_locator& where,
    std::uint64_t offset, std::uint64_t length, unsigned flags)
{
    const auto volume = detail::find_volume(connection, where);
    if (function(volume.get(), stream, offset, length, flags) < 0)
        throw_failure(explain_refusal(volume.get(), last_failure()));
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
