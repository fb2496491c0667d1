// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/openers.hpp>

#include <libvirt/libvirt.h>

#include <memory>

namespace avirt::detail {

/// Drops the reference on this thread.
struct volume_free
{
    void operator()(virStorageVolPtr volume) const noexcept
    {
        virStorageVolFree(volume);
    }
};

using volume_ptr = std::unique_ptr<virStorageVol, volume_free>;

/// Looks up a volume. For worker threads; throws avirt::exception.
volume_ptr find_volume(virConnectPtr connection, const volume_locator& where);

} // namespace avirt::detail
