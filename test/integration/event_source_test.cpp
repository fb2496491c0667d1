// SPDX-License-Identifier: BSL-1.0
#include "event_operations.hpp"
#include "operations.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <libvirt/virterror.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

constexpr auto do_nothing = [](virConnectPtr) { return 0; };

/// Changes to the state of the test driver's only domain.
enum class change { stop, start, suspend, resume };

int apply(virConnectPtr connection, change c)
{
    const avirt::domain domain{virDomainLookupByName(connection, "test")};
    switch (c) {
    case change::stop:
        return virDomainDestroy(domain.get());
    case change::start:
        return virDomainCreate(domain.get());
    case change::suspend:
        return virDomainSuspend(domain.get());
    case change::resume:
        return virDomainResume(domain.get());
    }
    return -1;
}

struct events_rig : with_events<operations_fixture>
{
    events_rig()
    {
        open_connection();
    }

    ~events_rig()
    {
        // All connections to test:///default share the domain.
        call([](virConnectPtr c) {
            if (apply(c, change::resume) < 0)
                static_cast<void>(apply(c, change::start));
            return 0;
        });
    }

    template <class F>
    void call(F f)
    {
        call_on(conn, f);
    }

    template <class F>
    void call_on(avirt::connection& connection, F f)
    {
        outcome called;
        connection.async_call(f, [h = called.handler()](error_code ec, auto&&) mutable { h(ec); });
        run_until_done(called);
        BOOST_TEST(!called.ec());
    }

    void apply_all(std::initializer_list<change> changes)
    {
        for (const auto c : changes)
            call([c](virConnectPtr connection) { return apply(connection, c); });
    }
};

const std::vector<int> stopped_and_started{VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STARTED};

BOOST_FIXTURE_TEST_SUITE(event_sources, events_rig)

BOOST_AUTO_TEST_CASE(events_arrive_in_order)
{
    lifecycle_source source{conn};
    BOOST_TEST((source.get_executor() == conn.get_executor()));
    BOOST_TEST(!subscribe(source));
    apply_all({change::suspend, change::resume, change::stop, change::start});
    const std::vector<int> expected{
        VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_STOPPED,
        VIR_DOMAIN_EVENT_STARTED};
    BOOST_TEST(receive_lifecycle(source, 4) == expected, boost::test_tools::per_element());
    BOOST_TEST(source.lost() == 0u);
}

BOOST_AUTO_TEST_CASE(a_receive_waits_for_its_event)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    std::optional<int> event;
    source.async_receive([&](error_code ec, avirt::domain_lifecycle e) {
        BOOST_TEST(!ec);
        event = e.event;
    });
    call(do_nothing);
    BOOST_TEST(!event);
    apply_all({change::suspend});
    run_until([&] { return event.has_value(); });
    BOOST_TEST(*event == VIR_DOMAIN_EVENT_SUSPENDED);
}

BOOST_AUTO_TEST_CASE(an_overflow_drops_the_oldest_events_and_is_reported)
{
    lifecycle_source source{conn, {.capacity = 3}};
    BOOST_TEST(!subscribe(source));
    apply_all({change::stop, change::start, change::suspend, change::resume, change::stop});
    call(do_nothing);
    BOOST_TEST(receive(source).first == avirt::error::events_lost);
    BOOST_TEST(source.lost() == 2u);
    BOOST_TEST(source.lost() == 0u);
    const std::vector<int> expected{
        VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_STOPPED};
    BOOST_TEST(receive_lifecycle(source, 3) == expected, boost::test_tools::per_element());
    apply_all({change::start});
    BOOST_TEST(receive_lifecycle(source, 1).front() == VIR_DOMAIN_EVENT_STARTED);
}

BOOST_AUTO_TEST_CASE(a_source_of_one_domain_by_name_or_uuid)
{
    std::string uuid(VIR_UUID_STRING_BUFLEN, '\0');
    call([&](virConnectPtr c) {
        const avirt::domain other{virDomainDefineXML(
            c, "<domain type='test'><name>other</name><memory>1</memory><os><type>hvm</type></os></domain>")};
        const avirt::domain domain{virDomainLookupByName(c, "test")};
        return other ? virDomainGetUUIDString(domain.get(), uuid.data()) : -1;
    });
    uuid.resize(uuid.size() - 1);
    lifecycle_source by_name{conn, {.object = "test"}};
    lifecycle_source by_uuid{conn, {.object = uuid}};
    BOOST_TEST(!subscribe(by_name));
    BOOST_TEST(!subscribe(by_uuid));
    call([](virConnectPtr c) {
        const avirt::domain other{virDomainLookupByName(c, "other")};
        return virDomainCreate(other.get()) < 0 || virDomainDestroy(other.get()) < 0
                || virDomainUndefine(other.get()) < 0
            ? -1
            : 0;
    });
    apply_all({change::stop, change::start});
    for (auto* source : {&by_name, &by_uuid})
        BOOST_TEST(receive_lifecycle(*source, 2) == stopped_and_started, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(many_sources_of_the_same_event)
{
    std::vector<std::unique_ptr<lifecycle_source>> sources;
    for (int i = 0; i < 20; ++i) {
        sources.push_back(std::make_unique<lifecycle_source>(conn));
        BOOST_TEST(!subscribe(*sources.back()));
    }
    apply_all({change::stop, change::start});
    for (const auto& source : sources)
        BOOST_TEST(receive_lifecycle(*source, 2) == stopped_and_started, boost::test_tools::per_element());
    for (int i = 0; i < 5; ++i)
        BOOST_TEST(!unsubscribe(*sources[static_cast<std::size_t>(i)]));
    apply_all({change::suspend});
    for (std::size_t i = 5; i < sources.size(); ++i)
        BOOST_TEST(receive_lifecycle(*sources[i], 1).front() == VIR_DOMAIN_EVENT_SUSPENDED);
    BOOST_TEST(!subscribe(*sources[0]));
}

BOOST_AUTO_TEST_CASE(an_object_that_does_not_exist)
{
    lifecycle_source source{conn, {.object = "nobody"}};
    avirt::error_details details;
    outcome subscribed;
    source.async_subscribe(avirt::with_details(subscribed.handler(), details));
    run_until_done(subscribed);
    BOOST_TEST(subscribed.ec() == avirt::condition::not_found);
    BOOST_TEST(details.code == VIR_ERR_NO_DOMAIN);
    BOOST_TEST(details.message.starts_with("DOMAIN NOT FOUND")); // Translated: see support/translation.hpp.
    BOOST_TEST(receive(source).first == avirt::error::not_open);

    avirt::event_source<avirt::network_lifecycle> network{conn, {.object = "nobody"}};
    BOOST_TEST(subscribe(network) == avirt::condition::not_found);
    avirt::event_source<avirt::storage_pool_lifecycle> pool{conn, {.object = "nobody"}};
    BOOST_TEST(subscribe(pool) == avirt::condition::not_found);
    avirt::event_source<avirt::node_device_lifecycle> device{conn, {.object = "nobody"}};
    BOOST_TEST(subscribe(device) == avirt::condition::not_found);
}

BOOST_AUTO_TEST_CASE(a_driver_that_has_no_secrets)
{
    avirt::event_source<avirt::secret_lifecycle> source{conn};
    BOOST_TEST(subscribe(source) == avirt::condition::not_supported);
}

BOOST_AUTO_TEST_CASE(no_event_arrives_after_unsubscribing_until_subscribed_again)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    apply_all({change::stop, change::start});
    BOOST_TEST(!unsubscribe(source));
    BOOST_TEST(receive(source).first == avirt::error::not_open);
    apply_all({change::stop, change::start});
    BOOST_TEST(!subscribe(source));
    apply_all({change::suspend});
    BOOST_TEST(receive_lifecycle(source, 1).front() == VIR_DOMAIN_EVENT_SUSPENDED);
}

BOOST_AUTO_TEST_CASE(unsubscribing_ends_a_receive)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    const auto received = start_receive(source);
    BOOST_TEST(!unsubscribe(source));
    check_result(received, aborted);
}

BOOST_AUTO_TEST_CASE(operations_are_refused_in_the_wrong_state)
{
    avirt::connection closed{io};
    lifecycle_source nowhere{closed};
    BOOST_TEST(subscribe(nowhere) == avirt::error::not_open);

    lifecycle_source source{conn};
    BOOST_TEST(receive(source).first == avirt::error::not_open);
    BOOST_TEST(unsubscribe(source) == avirt::error::not_open);
    outcome first, second, third; // All start before the first can complete.
    source.async_subscribe(first.handler());
    source.async_subscribe(second.handler());
    source.async_unsubscribe(third.handler());
    for (const auto& refused : {second, third})
        check_result(refused, avirt::error::operation_in_progress);
    check_result(first);
    BOOST_TEST(subscribe(source) == avirt::error::already_open);
    const auto waiting = start_receive(source);
    BOOST_TEST(receive(source).first == avirt::error::operation_in_progress);
    source.cancel();
    check_result(waiting, aborted);
}

BOOST_AUTO_TEST_CASE(a_cancelled_receive_loses_nothing)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    for (const auto type :
         {asio::cancellation_type::total, asio::cancellation_type::partial,
          asio::cancellation_type::terminal}) {
        asio::cancellation_signal signal;
        outcome received;
        source.async_receive(asio::bind_cancellation_slot(
            signal.slot(), [h = received.handler()](error_code ec, auto&&) mutable { h(ec); }));
        signal.emit(type);
        check_result(received, aborted);
    }
    apply_all({change::stop, change::start});
    BOOST_TEST(receive_lifecycle(source, 2) == stopped_and_started, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_cancelled_subscription_can_be_repeated)
{
    lifecycle_source source{conn};
    outcome subscribed;
    source.async_subscribe(subscribed.handler());
    source.cancel();
    check_result(subscribed, aborted);
    BOOST_TEST(!subscribe(source));
    apply_all({change::stop, change::start});
    BOOST_TEST(receive_lifecycle(source, 2) == stopped_and_started, boost::test_tools::per_element());
    call(do_nothing);
    BOOST_TEST(source.lost() == 0u);
}

BOOST_AUTO_TEST_CASE(destroyed_with_everything_outstanding)
{
    outcome subscribed;
    outcome received;
    {
        lifecycle_source source{conn};
        source.async_subscribe(subscribed.handler());
        source.async_receive([h = received.handler()](error_code ec, auto&&) mutable { h(ec); });
    }
    run_until([&] { return subscribed.calls() + received.calls() == 2; });
    check(subscribed, aborted);
    check(received, aborted);
}

BOOST_AUTO_TEST_CASE(destroyed_inside_its_own_handler)
{
    auto source = std::make_unique<lifecycle_source>(conn);
    BOOST_TEST(!subscribe(*source));
    apply_all({change::stop, change::start});
    source->async_receive([&](error_code ec, auto&&) {
        BOOST_TEST(!ec);
        source.reset();
    });
    run_until([&] { return !source; });
}

BOOST_AUTO_TEST_CASE(a_moved_source_still_receives)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    std::optional<int> event;
    source.async_receive([&](error_code, avirt::domain_lifecycle e) { event = e.event; });
    lifecycle_source moved{std::move(source)};
    apply_all({change::stop, change::start});
    run_until([&] { return event.has_value(); });
    BOOST_TEST(receive_lifecycle(moved, 1).front() == VIR_DOMAIN_EVENT_STARTED);
    lifecycle_source other{conn};
    other = std::move(moved);
    apply_all({change::suspend});
    BOOST_TEST(receive_lifecycle(other, 1).front() == VIR_DOMAIN_EVENT_SUSPENDED);
}

BOOST_AUTO_TEST_CASE(the_connection_object_may_be_closed_first)
{
    lifecycle_source source{conn};
    BOOST_TEST(!subscribe(source));
    conn.close();
    avirt::connection another{io}; // All connections to the test driver share its state.
    outcome opened;
    another.async_open("test:///default", opened.handler());
    run_until_done(opened);
    call_on(another, [](virConnectPtr c) { return apply(c, change::stop); });
    call_on(another, [](virConnectPtr c) { return apply(c, change::start); });
    BOOST_TEST(receive_lifecycle(source, 2) == stopped_and_started, boost::test_tools::per_element());
    open_connection();
}

BOOST_AUTO_TEST_CASE(in_a_coroutine)
{
    std::vector<int> events;
    const auto follow = [&]() -> asio::awaitable<void> {
        lifecycle_source source{conn};
        co_await source.async_subscribe(asio::use_awaitable);
        for (const auto c : {change::stop, change::start}) {
            co_await conn.async_call(
                [c](virConnectPtr connection) { return apply(connection, c); }, asio::use_awaitable);
            const auto event = co_await source.async_receive(asio::use_awaitable);
            events.push_back(event.event);
        }
        co_await source.async_unsubscribe(asio::use_awaitable);
    };
    bool is_over = false;
    asio::co_spawn(io, follow, [&](const std::exception_ptr& e) {
        BOOST_TEST(!e);
        is_over = true;
    });
    run_until([&] { return is_over; });
    BOOST_TEST(events == stopped_and_started, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(events_of_networks)
{
    avirt::event_source<avirt::network_lifecycle> source{conn, {.object = "default"}};
    BOOST_TEST(!subscribe(source));
    call([](virConnectPtr c) {
        const avirt::network network{virNetworkLookupByName(c, "default")};
        return virNetworkDestroy(network.get()) < 0 ? -1 : virNetworkCreate(network.get());
    });
    for (const int expected : {VIR_NETWORK_EVENT_STOPPED, VIR_NETWORK_EVENT_STARTED}) {
        const auto [ec, event] = receive(source);
        BOOST_TEST(!ec);
        BOOST_TEST(event.event == expected);
        BOOST_TEST(virNetworkGetName(event.network.get()) == std::string("default"));
    }
}

BOOST_AUTO_TEST_CASE(events_of_storage_pools)
{
    avirt::event_source<avirt::storage_pool_lifecycle> lifecycle{conn, {.object = "default-pool"}};
    avirt::event_source<avirt::storage_pool_refresh> refresh{conn};
    BOOST_TEST(!subscribe(lifecycle));
    BOOST_TEST(!subscribe(refresh));
    call([](virConnectPtr c) {
        const avirt::storage_pool pool{virStoragePoolLookupByName(c, "default-pool")};
        return virStoragePoolRefresh(pool.get(), 0) < 0 || virStoragePoolDestroy(pool.get()) < 0
            ? -1
            : virStoragePoolCreate(pool.get(), 0);
    });
    for (const int expected : {VIR_STORAGE_POOL_EVENT_STOPPED, VIR_STORAGE_POOL_EVENT_STARTED}) {
        const auto [ec, event] = receive(lifecycle);
        BOOST_TEST(!ec);
        BOOST_TEST(event.event == expected);
    }
    const auto [ec, event] = receive(refresh);
    BOOST_TEST(!ec);
    BOOST_TEST(virStoragePoolGetName(event.pool.get()) == std::string("default-pool"));
}

BOOST_AUTO_TEST_CASE(events_of_node_devices)
{
    avirt::event_source<avirt::node_device_lifecycle> source{conn};
    BOOST_TEST(!subscribe(source));
    call([](virConnectPtr c) {
        const avirt::node_device device{virNodeDeviceCreateXML(
            c,
            "<device><name>scsi_host12</name><parent>scsi_host1</parent><capability type='scsi_host'>"
            "<capability type='fc_host'><wwnn>2000000012341234</wwnn><wwpn>1000000012341234</wwpn>"
            "</capability></capability></device>",
            0)};
        return device ? virNodeDeviceDestroy(device.get()) : -1;
    });
    for (const int expected : {VIR_NODE_DEVICE_EVENT_CREATED, VIR_NODE_DEVICE_EVENT_DELETED}) {
        const auto [ec, event] = receive(source);
        BOOST_TEST(!ec);
        BOOST_TEST(event.event == expected);
    }
}

BOOST_AUTO_TEST_CASE(events_of_metadata)
{
    avirt::event_source<avirt::domain_metadata_change> source{conn};
    BOOST_TEST(!subscribe(source));
    call([](virConnectPtr c) {
        const avirt::domain domain{virDomainLookupByName(c, "test")};
        return virDomainSetMetadata(
            domain.get(), VIR_DOMAIN_METADATA_ELEMENT, "<a/>", "p", "urn:example", VIR_DOMAIN_AFFECT_LIVE);
    });
    const auto [ec, event] = receive(source);
    BOOST_TEST(!ec);
    BOOST_TEST(event.type == VIR_DOMAIN_METADATA_ELEMENT);
    BOOST_TEST(event.nsuri == "urn:example");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(handlers_of_sources_are_destroyed_uninvoked_with_their_context)
{
    const auto alive = std::make_shared<int>(0);
    {
        std::optional<asio::io_context> io;
        io.emplace();
        avirt::event_loop loop{*io};
        avirt::connection conn{*io};
        outcome opened;
        conn.async_open("test:///default", opened.handler());
        support::run_until(*io, [&] { return opened.calls() > 0; });
        lifecycle_source source{conn};
        outcome subscribed;
        source.async_subscribe(subscribed.handler());
        support::run_until(*io, [&] { return subscribed.calls() > 0; });
        source.async_receive([alive](error_code, auto&&) { BOOST_ERROR("invoked without a context"); });
        lifecycle_source beginning{conn};
        beginning.async_subscribe([alive](error_code) { BOOST_ERROR("invoked without a context"); });
        io.reset();
        BOOST_TEST(alive.use_count() == 1);
    }
}

} // namespace
