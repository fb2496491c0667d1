// SPDX-License-Identifier: BSL-1.0
#include <avirt/handle.hpp>

#include <support/loop_fixture.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <type_traits>

namespace {

/// The arguments with which libvirt's functions for one type of object were called.
struct calls
{
    std::atomic<const void*> referenced = nullptr;
    std::atomic<const void*> freed = nullptr;
    std::atomic<bool> was_freed_elsewhere = false;
    const std::thread::id test = std::this_thread::get_id();
};

template <class Pointer>
calls& calls_of()
{
    static calls c;
    return c;
}

template <class Pointer>
int add(Pointer p)
{
    calls_of<Pointer>().referenced = p;
    return 0;
}

template <class Pointer>
int drop(Pointer p)
{
    auto& c = calls_of<Pointer>();
    c.was_freed_elsewhere = std::this_thread::get_id() != c.test;
    c.freed = p;
    return 0;
}

} // namespace

// libvirt's functions, replaced at link time.
#define FAKE_OBJECT(Pointer, Ref, Free) \
    int Ref(Pointer p)                  \
    {                                   \
        return add(p);                  \
    }                                   \
    int Free(Pointer p)                 \
    {                                   \
        return drop(p);                 \
    }
FAKE_OBJECT(virDomainPtr, virDomainRef, virDomainFree)
FAKE_OBJECT(virNetworkPtr, virNetworkRef, virNetworkFree)
FAKE_OBJECT(virStoragePoolPtr, virStoragePoolRef, virStoragePoolFree)
FAKE_OBJECT(virStorageVolPtr, virStorageVolRef, virStorageVolFree)
FAKE_OBJECT(virNodeDevicePtr, virNodeDeviceRef, virNodeDeviceFree)
FAKE_OBJECT(virSecretPtr, virSecretRef, virSecretFree)
FAKE_OBJECT(virDomainSnapshotPtr, virDomainSnapshotRef, virDomainSnapshotFree)
FAKE_OBJECT(virDomainCheckpointPtr, virDomainCheckpointRef, virDomainCheckpointFree)
FAKE_OBJECT(virNetworkPortPtr, virNetworkPortRef, virNetworkPortFree)
FAKE_OBJECT(virInterfacePtr, virInterfaceRef, virInterfaceFree)
FAKE_OBJECT(virNWFilterPtr, virNWFilterRef, virNWFilterFree)
FAKE_OBJECT(virNWFilterBindingPtr, virNWFilterBindingRef, virNWFilterBindingFree)

namespace {

/// Checks everything that a handle of one type does.
template <class Pointer>
void check(const avirt::handle<Pointer>&)
{
    static_assert(std::is_nothrow_move_constructible_v<avirt::handle<Pointer>>);
    static_assert(std::is_nothrow_move_assignable_v<avirt::handle<Pointer>>);
    static_assert(!std::is_copy_constructible_v<avirt::handle<Pointer>>);
    static_assert(!std::is_convertible_v<Pointer, avirt::handle<Pointer>>);
    static_assert(!std::is_convertible_v<avirt::handle<Pointer>, bool>);
    auto& c = calls_of<Pointer>();
    char object = 0;
    const auto pointer = reinterpret_cast<Pointer>(&object);
    {
        const avirt::handle<Pointer> owner(pointer);
        avirt::handle<Pointer> second = owner.ref();
        BOOST_TEST(c.referenced.load() == pointer);
        BOOST_TEST(second.release() == pointer);
        BOOST_TEST(c.freed.load() == nullptr);
    }
    BOOST_TEST(support::eventually([&] { return c.freed == pointer; }));
    BOOST_TEST(c.was_freed_elsewhere);
    char other = 0;
    avirt::handle<Pointer> assigned(reinterpret_cast<Pointer>(&other));
    assigned = {};
    BOOST_TEST(support::eventually([&] { return c.freed == &other; }));
}

BOOST_AUTO_TEST_CASE(every_type_uses_its_own_functions)
{
    check(avirt::domain());
    check(avirt::network());
    check(avirt::storage_pool());
    check(avirt::storage_volume());
    check(avirt::node_device());
    check(avirt::secret());
    check(avirt::domain_snapshot());
    check(avirt::domain_checkpoint());
    check(avirt::network_port());
    check(avirt::interface());
    check(avirt::nwfilter());
    check(avirt::nwfilter_binding());
}

} // namespace
