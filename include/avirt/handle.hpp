// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <utility>

namespace avirt {

namespace detail {

// One pair for each public object type of libvirt. release_reference() drops the reference on a worker
// thread.
#define AVIRT_HANDLE_TYPE(Pointer)                          \
    AVIRT_DECL void add_reference(Pointer object) noexcept; \
    AVIRT_DECL void release_reference(Pointer object) noexcept;
AVIRT_HANDLE_TYPE(virDomainPtr)
AVIRT_HANDLE_TYPE(virNetworkPtr)
AVIRT_HANDLE_TYPE(virStoragePoolPtr)
AVIRT_HANDLE_TYPE(virStorageVolPtr)
AVIRT_HANDLE_TYPE(virNodeDevicePtr)
AVIRT_HANDLE_TYPE(virSecretPtr)
AVIRT_HANDLE_TYPE(virDomainSnapshotPtr)
AVIRT_HANDLE_TYPE(virDomainCheckpointPtr)
AVIRT_HANDLE_TYPE(virNetworkPortPtr)
AVIRT_HANDLE_TYPE(virInterfacePtr)
AVIRT_HANDLE_TYPE(virNWFilterPtr)
AVIRT_HANDLE_TYPE(virNWFilterBindingPtr)
#undef AVIRT_HANDLE_TYPE

} // namespace detail

/// Owns a reference to a libvirt object. It is move-only; ref() returns another owner.
///
/// The reference is dropped on a worker thread, because the last reference to an object can be the last one
/// to its connection, and closing a connection blocks. A handle may therefore be destroyed anywhere, even
/// inside a libvirt callback.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @par libvirt
/// virDomainRef, virDomainFree and the like.
///
/// @code
/// avirt::domain vm{virDomainLookupByName(conn, "vm1")};
/// if (vm)
///     virDomainResume(vm.get());
/// @endcode
template <class Pointer>
class handle
{
public:
    /// Constructs an empty handle.
    handle() noexcept = default;

    /// Takes over the caller's reference.
    explicit handle(Pointer adopted) noexcept : object_(adopted) {}

    handle(handle&& other) noexcept : object_(other.release()) {}

    handle& operator=(handle&& other) noexcept
    {
        handle moved(std::move(other));
        std::swap(object_, moved.object_);
        return *this;
    }

    ~handle()
    {
        if (object_)
            detail::release_reference(object_);
    }

    /// Gets libvirt's object, or null. The handle keeps its ownership.
    Pointer get() const noexcept
    {
        return object_;
    }

    /// Determines whether the handle owns an object.
    explicit operator bool() const noexcept
    {
        return object_ != nullptr;
    }

    /// Releases ownership: the caller owns the returned reference.
    [[nodiscard]] Pointer release() noexcept
    {
        return std::exchange(object_, nullptr);
    }

    /// Returns another owner of the same object; an empty handle if this one is empty.
    [[nodiscard]] handle ref() const noexcept
    {
        if (object_)
            detail::add_reference(object_);
        return handle(object_);
    }

private:
    Pointer object_ = nullptr;
};

using domain = handle<virDomainPtr>;
using network = handle<virNetworkPtr>;
using storage_pool = handle<virStoragePoolPtr>;
using storage_volume = handle<virStorageVolPtr>;
using node_device = handle<virNodeDevicePtr>;
using secret = handle<virSecretPtr>;
using domain_snapshot = handle<virDomainSnapshotPtr>;
using domain_checkpoint = handle<virDomainCheckpointPtr>;
using network_port = handle<virNetworkPortPtr>;
using interface = handle<virInterfacePtr>;
using nwfilter = handle<virNWFilterPtr>;
using nwfilter_binding = handle<virNWFilterBindingPtr>;

} // namespace avirt
