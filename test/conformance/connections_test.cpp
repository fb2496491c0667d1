// SPDX-License-Identifier: BSL-1.0
#include "connection_fixture.hpp"
#include "decorators.hpp"
#include "files.hpp"

#include <support/open_files.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace conformance {
namespace {

std::string line(const char* name, int event)
{
    return std::string{name} + ' ' + std::to_string(event);
}

constexpr const char* another_domain = "<domain type='test'><name>another</name><memory>8192</memory>"
                                       "<os><type>hvm</type></os></domain>";

constexpr const char* virtual_adapter =
    "<device><parent>scsi_host1</parent><capability type='scsi_host'><capability type='fc_host'>"
    "<wwnn>2000000012341234</wwnn><wwpn>5555666677778888</wwpn></capability></capability></device>";

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    connections, connection_fixture,
    *description("libvirt's test driver on the loop: the events of its objects, and what a closed connection "
                 "leaves behind."))

BOOST_AUTO_TEST_CASE(the_events_of_a_domain_arrive_in_order_after_each_call)
{
    const auto d = test_domain();
    const auto& log = domain_events();
    std::vector<std::string> expected;
    const auto expect_event = [&](int result, int event) {
        BOOST_TEST(result == 0);
        expected.push_back(line("test", event));
        run_until([&] { return log.size() == expected.size(); });
    };
    for (int round = 0; round < 3; ++round) {
        expect_event(virDomainSuspend(d.get()), VIR_DOMAIN_EVENT_SUSPENDED);
        expect_event(virDomainResume(d.get()), VIR_DOMAIN_EVENT_RESUMED);
        expect_event(virDomainDestroy(d.get()), VIR_DOMAIN_EVENT_STOPPED);
        expect_event(virDomainCreate(d.get()), VIR_DOMAIN_EVENT_STARTED);
    }
    settle();
    BOOST_TEST(log.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_domain_that_comes_and_goes_is_reported)
{
    const auto& log = domain_events();
    const domain another{virDomainDefineXML(connection, another_domain)};
    BOOST_REQUIRE(another);
    BOOST_TEST(virDomainCreate(another.get()) == 0);
    BOOST_TEST(virDomainDestroy(another.get()) == 0);
    BOOST_TEST(virDomainUndefine(another.get()) == 0);
    run_until([&] { return log.size() == 4; });
    const std::vector<std::string> expected{
        line("another", VIR_DOMAIN_EVENT_DEFINED), line("another", VIR_DOMAIN_EVENT_STARTED),
        line("another", VIR_DOMAIN_EVENT_STOPPED), line("another", VIR_DOMAIN_EVENT_UNDEFINED)};
    BOOST_TEST(log.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(events_of_calls_on_another_thread_arrive_in_order)
{
    constexpr int rounds = 100;
    const auto d = test_domain();
    const auto& log = domain_events();
    std::vector<std::string> expected;
    for (int i = 0; i < rounds; ++i) {
        expected.push_back(line("test", VIR_DOMAIN_EVENT_STOPPED));
        expected.push_back(line("test", VIR_DOMAIN_EVENT_STARTED));
    }
    helper_thread helper{[&] {
        for (int i = 0; i < rounds; ++i)
            expect(virDomainDestroy(d.get()) == 0 && virDomainCreate(d.get()) == 0, "a call failed");
    }};
    run_until([&] { return helper.finished() && log.size() == expected.size(); });
    BOOST_TEST(log.lines() == expected, boost::test_tools::per_element());
}

// A case from the tests of libvirt's Perl binding.
BOOST_AUTO_TEST_CASE(an_event_arrives_in_the_next_turn)
{
    const auto d = test_domain();
    auto& log = domain_events();
    auto& turns = add_timer(-1);
    std::atomic<int> turns_before{0};
    log.on_event = [&] { turns_before = turns.calls(); };
    for (const auto call : {&virDomainDestroy, &virDomainCreate}) {
        const auto events = log.size();
        const int turn = turns.calls();
        BOOST_TEST(call(d.get()) == 0);
        turns.update(0);
        run_until([&] { return log.size() > events; });
        BOOST_TEST(turns_before <= turn + 1);
        turns.update(-1);
    }
}

BOOST_AUTO_TEST_CASE(no_event_arrives_after_deregistering)
{
    const auto d = test_domain();
    auto& log = domain_events();
    BOOST_TEST(log.deregister() == 0);
    run_until([&] { return log.frees() == 1; });
    const auto& next = domain_events();
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    BOOST_TEST(virDomainCreate(d.get()) == 0);
    run_until([&] { return next.size() == 2; });
    settle();
    BOOST_TEST(log.size() == 0u);
    BOOST_TEST(log.frees() == 1);
}

BOOST_AUTO_TEST_CASE(a_queued_event_is_not_delivered_after_deregistering)
{
    const auto d = test_domain();
    auto& log = domain_events();
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    BOOST_TEST(virDomainCreate(d.get()) == 0);
    BOOST_TEST(log.deregister() == 0);
    run_until([&] { return log.frees() == 1; });
    settle();
    BOOST_TEST(log.size() == 0u);
}

BOOST_AUTO_TEST_CASE(both_registration_functions_deliver_events)
{
    const auto d = test_domain();
    const auto& old = domain_events_the_old_way();
    const auto& log = domain_events();
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    BOOST_TEST(virDomainCreate(d.get()) == 0);
    run_until([&] { return log.size() == 2 && old.size() == 2; });
    BOOST_TEST(log.lines() == old.lines(), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(objects_of_all_kinds_report_events)
{
    const auto d = test_domain();
    const network n{virNetworkLookupByName(connection, "default")};
    const storage_pool p{virStoragePoolLookupByName(connection, "default-pool")};
    const auto& domains = domain_events();
    const auto& networks = network_events();
    const auto& pools = pool_events();
    const auto& devices = device_events();
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    BOOST_TEST(virNetworkDestroy(n.get()) == 0);
    BOOST_TEST(virStoragePoolDestroy(p.get()) == 0);
    BOOST_TEST(virDomainCreate(d.get()) == 0);
    BOOST_TEST(virNetworkCreate(n.get()) == 0);
    BOOST_TEST(virStoragePoolCreate(p.get(), 0) == 0);
    const node_device device{virNodeDeviceCreateXML(connection, virtual_adapter, 0)};
    BOOST_REQUIRE(device);
    const std::string name = virNodeDeviceGetName(device.get());
    BOOST_TEST(virNodeDeviceDestroy(device.get()) == 0);
    run_until([&] {
        return domains.size() == 2 && networks.size() == 2 && pools.size() == 2 && devices.size() == 2;
    });

    const auto expect_lines = [](const event_log& log, const char* of, int first, int second) {
        const std::vector<std::string> expected{line(of, first), line(of, second)};
        BOOST_TEST(log.lines() == expected, boost::test_tools::per_element());
    };
    expect_lines(domains, "test", VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STARTED);
    expect_lines(networks, "default", VIR_NETWORK_EVENT_STOPPED, VIR_NETWORK_EVENT_STARTED);
    expect_lines(pools, "default-pool", VIR_STORAGE_POOL_EVENT_STOPPED, VIR_STORAGE_POOL_EVENT_STARTED);
    expect_lines(devices, name.c_str(), VIR_NODE_DEVICE_EVENT_CREATED, VIR_NODE_DEVICE_EVENT_DELETED);
}

BOOST_AUTO_TEST_CASE(an_event_callback_may_call_libvirt)
{
    const auto d = test_domain();
    auto& log = domain_events();
    log.on_event = [&] {
        const auto events = log.size();
        if (events % 2 == 1)
            expect(virDomainCreate(d.get()) == 0, "a domain could not be started from inside a callback");
        else if (events < 10)
            expect(virDomainDestroy(d.get()) == 0, "a domain could not be stopped from inside a callback");
    };
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    run_until([&] { return log.size() == 10; });
    settle();
    BOOST_TEST(log.size() == 10u);
}

BOOST_AUTO_TEST_CASE(an_event_callback_may_deregister_itself_and_register_another)
{
    const auto d = test_domain();
    const event_log* next = nullptr;
    auto& log = domain_events();
    log.on_event = [&] {
        expect(log.deregister() == 0, "an event could not be deregistered from inside its callback");
        next = &domain_events();
    };
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    run_until([&] { return log.frees() == 1; });
    BOOST_TEST(virDomainCreate(d.get()) == 0);
    run_until([&] { return next->size() == 1; });
    BOOST_TEST(log.size() == 1u);
}

BOOST_AUTO_TEST_CASE(
    the_loop_is_idle_unless_something_is_registered,
    *not_asked("libvirt's loop does not report whether it is idle. With avirt a program ends once it has "
               "closed what it opened, because its context has no work left"))
{
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST(loop.comes_to_rest());
        BOOST_TEST(loop.is_idle());
        auto& log = domain_events();
        BOOST_TEST(!loop.is_idle());
        settle();
        BOOST_TEST(loop.comes_to_rest());
        BOOST_TEST(!loop.is_idle());
        BOOST_TEST(log.deregister() == 0);
        run_until([&] { return log.frees() == 1; });
    }
}

BOOST_AUTO_TEST_CASE(a_connection_may_be_closed_by_a_callback)
{
    const auto d = test_domain();
    auto& log = domain_events();
    int closed = -1;
    auto& closer = add_timer(-1, [&](registration& self) {
        expect(log.deregister() == 0, "an event could not be deregistered");
        closed = close();
        self.remove();
    });
    log.on_event = [&] { closer.update(0); };
    BOOST_TEST(virDomainDestroy(d.get()) == 0);
    run_until([&] { return closer.frees() == 1 && log.frees() == 1; });
    BOOST_TEST(closed >= 0);
    BOOST_TEST(log.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_thousand_connections_leave_nothing_behind)
{
    BOOST_TEST(close() == 0);
    const auto files = support::open_files();
    for (int i = 1; i <= 1000; ++i) {
        open();
        auto& log = domain_events();
        BOOST_TEST(log.deregister() == 0);
        BOOST_TEST(close() >= 0);
        if (i % 100 == 0)
            run_until([&] { return log.frees() == 1; });
    }
    BOOST_TEST(loop.comes_to_rest());
    BOOST_TEST(loop.is_idle());
    BOOST_TEST(support::open_files() == files);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
