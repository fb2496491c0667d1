// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <avirt/handle.hpp>

#include <vector>

namespace {

struct handle_fixture : operations_fixture
{
    handle_fixture()
    {
        BOOST_REQUIRE(native);
    }

    ~handle_fixture()
    {
        if (native)
            close();
    }

    avirt::domain lookup()
    {
        return avirt::domain(virDomainLookupByName(native, "test"));
    }

    /// Returns 0 if this was the last reference. A domain holds a reference to its connection.
    int close()
    {
        return virConnectClose(std::exchange(native, nullptr));
    }

    virConnectPtr native = virConnectOpen("test:///default");
};

BOOST_FIXTURE_TEST_SUITE(handle, handle_fixture)

BOOST_AUTO_TEST_CASE(holds_its_connection)
{
    const auto vm = lookup();
    BOOST_TEST(static_cast<bool>(vm));
    BOOST_TEST(close() == 1);
    BOOST_TEST(virDomainIsActive(vm.get()) == 1);
}

BOOST_AUTO_TEST_CASE(drops_its_connection_when_destroyed)
{
    lookup();
    support::run_to_end(io); // The reference is dropped on another thread, and run() waits for that.
    BOOST_TEST(close() == 0);
}

BOOST_AUTO_TEST_CASE(several_owners)
{
    auto first = lookup();
    auto second = first.ref();
    BOOST_TEST(first.get() == second.get());
    first = {};
    BOOST_TEST(!first);
    support::run_to_end(io);
    BOOST_TEST(virDomainGetID(second.get()) == 1u);
    second = {};
    support::run_to_end(io);
    BOOST_TEST(close() == 0);
}

BOOST_AUTO_TEST_CASE(moved_and_released)
{
    auto vm = lookup();
    const auto pointer = vm.get();
    avirt::domain moved(std::move(vm));
    BOOST_TEST(!vm.get());
    BOOST_TEST(moved.get() == pointer);
    vm = std::move(moved);
    BOOST_TEST(!moved);
    auto& self = vm;
    vm = std::move(self);
    BOOST_TEST(vm.get() == pointer);
    BOOST_TEST(vm.release() == pointer);
    BOOST_TEST(!vm);
    BOOST_TEST(!avirt::domain().ref());
    BOOST_TEST(!avirt::domain().release());
    support::run_to_end(io);
    BOOST_TEST(virDomainFree(pointer) == 0);
    BOOST_TEST(close() == 0);
}

BOOST_AUTO_TEST_CASE(is_destroyed_inside_a_libvirt_callback)
{
    struct listener
    {
        avirt::domain vm;
        int calls = 0;

        static void on_event(virConnectPtr, virDomainPtr d, int, int, void* opaque)
        {
            auto& self = *static_cast<listener*>(opaque);
            ++self.calls;
            self.vm = {};
            virDomainRef(d);
            const avirt::domain another(d);
        }
    };
    listener l{lookup()};
    const int id = virConnectDomainEventRegisterAny(
        native, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(&listener::on_event), &l,
        nullptr);
    BOOST_REQUIRE(id >= 0);
    {
        const auto vm = lookup();
        BOOST_TEST(virDomainSuspend(vm.get()) == 0);
        BOOST_TEST(virDomainResume(vm.get()) == 0);
    }
    run_until([&] { return l.calls == 2; });
    virConnectDomainEventDeregisterAny(native, id);
    support::run_to_end(io);
    BOOST_TEST(close() == 0);
}

BOOST_AUTO_TEST_CASE(the_last_reference_to_a_connection)
{
    open_connection();
    avirt::domain vm(virDomainLookupByName(conn.native_handle(), "test"));
    outcome closed;
    conn.async_close(closed.handler());
    check_result(closed);
    BOOST_TEST(virDomainIsActive(vm.get()) == 1); // libvirt's connection is still open.
    vm = {}; // Closes it on another thread; LeakSanitizer would report a leak.
}

BOOST_AUTO_TEST_CASE(a_thousand_at_once)
{
    std::vector<avirt::domain> many;
    for (int i = 0; i < 1000; ++i)
        many.push_back(lookup());
    many.clear();
    support::run_to_end(io);
    BOOST_TEST(close() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
