// SPDX-License-Identifier: BSL-1.0
#include <avirt/handle.hpp>

#include "core/release_queue.hpp"

namespace avirt::detail {
namespace {

template <class Pointer, int (*Free)(Pointer)>
void free_later(Pointer object) noexcept
{
    release_later([](void* p) { Free(static_cast<Pointer>(p)); }, object);
}

} // namespace

#define AVIRT_HANDLE_TYPE(Pointer, Ref, Free)       \
    void add_reference(Pointer object) noexcept     \
    {                                               \
        Ref(object);                                \
    }                                               \
    void release_reference(Pointer object) noexcept \
    {                                               \
        free_later<Pointer, &Free>(object);         \
    }
AVIRT_HANDLE_TYPE(virDomainPtr, virDomainRef, virDomainFree)
AVIRT_HANDLE_TYPE(virNetworkPtr, virNetworkRef, virNetworkFree)
AVIRT_HANDLE_TYPE(virStoragePoolPtr, virStoragePoolRef, virStoragePoolFree)
AVIRT_HANDLE_TYPE(virStorageVolPtr, virStorageVolRef, virStorageVolFree)
AVIRT_HANDLE_TYPE(virNodeDevicePtr, virNodeDeviceRef, virNodeDeviceFree)
AVIRT_HANDLE_TYPE(virSecretPtr, virSecretRef, virSecretFree)
AVIRT_HANDLE_TYPE(virDomainSnapshotPtr, virDomainSnapshotRef, virDomainSnapshotFree)
AVIRT_HANDLE_TYPE(virDomainCheckpointPtr, virDomainCheckpointRef, virDomainCheckpointFree)
AVIRT_HANDLE_TYPE(virNetworkPortPtr, virNetworkPortRef, virNetworkPortFree)
AVIRT_HANDLE_TYPE(virInterfacePtr, virInterfaceRef, virInterfaceFree)
AVIRT_HANDLE_TYPE(virNWFilterPtr, virNWFilterRef, virNWFilterFree)
AVIRT_HANDLE_TYPE(virNWFilterBindingPtr, virNWFilterBindingRef, virNWFilterBindingFree)
#undef AVIRT_HANDLE_TYPE

} // namespace avirt::detail
