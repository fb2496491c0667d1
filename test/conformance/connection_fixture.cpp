// SPDX-License-Identifier: BSL-1.0
#include "connection_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <utility>

namespace conformance {

void expect(bool holds, const char* clause)
{
    if (!holds)
        violation(clause);
}

connection_fixture::connection_fixture()
{
    open();
}

connection_fixture::~connection_fixture()
{
    if (!connection)
        return;
    // The case has failed: the objects that its callbacks use are gone, and libvirt may still hold pointers
    // to the logs.
    try {
        for (const auto& log : logs_) {
            log->on_event = {};
            if (log->deregister_)
                log->deregister();
        }
        close();
        run_until_freed();
    }
    catch (...) {
        for (auto& log : logs_)
            static_cast<void>(log.release());
    }
}

void connection_fixture::open()
{
    connection = virConnectOpen("test:///default");
    BOOST_REQUIRE(connection);
}

int connection_fixture::close()
{
    return virConnectClose(std::exchange(connection, nullptr));
}

void connection_fixture::teardown()
{
    for (const auto& log : logs_)
        if (log->deregister_)
            BOOST_TEST(log->deregister() == 0);
    run_until_freed();
    // Once the loop is at rest, nothing else may hold a reference to the connection.
    BOOST_TEST(loop.comes_to_rest());
    if (connection)
        BOOST_TEST(close() == 0);
    loop_fixture::teardown();
}

domain connection_fixture::test_domain() const
{
    return domain{virDomainLookupByName(connection, "test")};
}

event_log& connection_fixture::domain_events()
{
    auto& log = new_log();
    return registered(
        log,
        virConnectDomainEventRegisterAny(
            connection, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            VIR_DOMAIN_EVENT_CALLBACK(&event_log::on_domain), &log, &event_log::on_free),
        &virConnectDomainEventDeregisterAny);
}

event_log& connection_fixture::domain_events_the_old_way()
{
    auto& log = new_log();
    const auto deregister = [](virConnectPtr c, int) {
        return virConnectDomainEventDeregister(c, &event_log::on_domain_the_old_way);
    };
    return registered(
        log,
        virConnectDomainEventRegister(
            connection, &event_log::on_domain_the_old_way, &log, &event_log::on_free),
        deregister);
}

event_log& connection_fixture::network_events()
{
    auto& log = new_log();
    return registered(
        log,
        virConnectNetworkEventRegisterAny(
            connection, nullptr, VIR_NETWORK_EVENT_ID_LIFECYCLE,
            VIR_NETWORK_EVENT_CALLBACK(&event_log::on_network), &log, &event_log::on_free),
        &virConnectNetworkEventDeregisterAny);
}

event_log& connection_fixture::pool_events()
{
    auto& log = new_log();
    return registered(
        log,
        virConnectStoragePoolEventRegisterAny(
            connection, nullptr, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
            VIR_STORAGE_POOL_EVENT_CALLBACK(&event_log::on_pool), &log, &event_log::on_free),
        &virConnectStoragePoolEventDeregisterAny);
}

event_log& connection_fixture::device_events()
{
    auto& log = new_log();
    return registered(
        log,
        virConnectNodeDeviceEventRegisterAny(
            connection, nullptr, VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
            VIR_NODE_DEVICE_EVENT_CALLBACK(&event_log::on_device), &log, &event_log::on_free),
        &virConnectNodeDeviceEventDeregisterAny);
}

event_log& connection_fixture::new_log()
{
    logs_.push_back(std::make_unique<event_log>());
    return *logs_.back();
}

event_log& connection_fixture::registered(event_log& log, int id, int (*deregister)(virConnectPtr, int))
{
    expect(id >= 0, "an event callback could not be registered");
    if (id >= 0)
        log.deregister_ = [c = connection, id, deregister] { return deregister(c, id); };
    return log;
}

void connection_fixture::run_until_freed()
{
    run_until([this] { return std::ranges::all_of(logs_, [](auto& log) { return log->frees() == 1; }); });
}

} // namespace conformance
