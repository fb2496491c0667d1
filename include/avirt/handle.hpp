// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <utility>

namespace avirt {

namespace detail {

// One pair for each public object type of libvirt's. `release` drops a reference off the calling thread.
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

/// Owns a reference to an object of libvirt's. Move-only; ref() makes another owner.
///
/// The reference is dropped on a worker thread: the last reference to an object can be the last one to its
/// connection, and closing a connection blocks. A handle may therefore be destroyed anywhere, in a libvirt
/// callback too.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe.
///
/// libvirt: virDomainRef, virDomainFree and their like.
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
    handle() noexcept = default;

    /// Takes over the reference that the caller holds.
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

    Pointer get() const noexcept
    {
        return object_;
    }

    explicit operator bool() const noexcept
    {
        return object_ != nullptr;
    }

    /// Gives the reference to the caller.
    [[nodiscard]] Pointer release() noexcept
    {
        return std::exchange(object_, nullptr);
    }

    /// Another owner of the same object; empty where this is.
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
