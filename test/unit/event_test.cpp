// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_source.hpp>

#include <boost/test/unit_test.hpp>

#include <set>
#include <string>
#include <variant>

namespace {

using namespace avirt;
using avirt::detail::event_object;

template <class... Events>
struct kinds
{
    /// Returns the ids of the event types, which must all concern such an object, each with its own id.
    static std::set<int> ids(event_object object)
    {
        std::set<int> result;
        const auto add = [&](const detail::event_kind& kind) {
            BOOST_TEST(static_cast<int>(kind.object) == static_cast<int>(object));
            BOOST_TEST(result.insert(kind.id).second);
            const std::set<void (*)()> different(kind.callbacks.begin(), kind.callbacks.end());
            BOOST_TEST(different.size() == kind.callbacks.size());
        };
        (add(detail::kind_of<Events>()), ...);
        return result;
    }
};

void check_all(const std::set<int>& ids, int last)
{
    BOOST_TEST(ids.size() == static_cast<std::size_t>(last));
    BOOST_TEST(*ids.begin() == 0);
    BOOST_TEST(*ids.rbegin() == last - 1);
}

BOOST_AUTO_TEST_SUITE(events)

BOOST_AUTO_TEST_CASE(every_domain_event_id_has_a_type)
{
    check_all(
        kinds<
            domain_lifecycle, domain_reboot, domain_rtc_change, domain_watchdog, domain_io_error,
            domain_graphics, domain_io_error_reason, domain_control_error, domain_block_job,
            domain_disk_change, domain_tray_change, domain_pmwakeup, domain_pmsuspend, domain_balloon_change,
            domain_pmsuspend_disk, domain_device_removed, domain_block_job_2, domain_tunable,
            domain_agent_lifecycle, domain_device_added, domain_migration_iteration, domain_job_completed,
            domain_device_removal_failed, domain_metadata_change, domain_block_threshold,
            domain_memory_failure, domain_memory_device_size_change
#if LIBVIR_CHECK_VERSION(11, 2, 0)
            ,
            domain_nic_mac_change
#endif
#if LIBVIR_CHECK_VERSION(12, 4, 0)
            ,
            domain_vcpu_removed, domain_channel_lifecycle
#endif
            >::ids(event_object::domain),
        VIR_DOMAIN_EVENT_ID_LAST);
}

BOOST_AUTO_TEST_CASE(every_other_event_id_has_a_type)
{
    check_all(
        kinds<
            network_lifecycle
#if LIBVIR_CHECK_VERSION(9, 8, 0)
            ,
            network_metadata_change
#endif
            >::ids(event_object::network),
        VIR_NETWORK_EVENT_ID_LAST);
    check_all(
        kinds<storage_pool_lifecycle, storage_pool_refresh>::ids(event_object::storage_pool),
        VIR_STORAGE_POOL_EVENT_ID_LAST);
    check_all(
        kinds<node_device_lifecycle, node_device_update>::ids(event_object::node_device),
        VIR_NODE_DEVICE_EVENT_ID_LAST);
    check_all(
        kinds<secret_lifecycle, secret_value_changed>::ids(event_object::secret), VIR_SECRET_EVENT_ID_LAST);
}

BOOST_AUTO_TEST_CASE(values_that_libvirt_omits_are_empty)
{
    BOOST_TEST(detail::to_member(static_cast<const char*>(nullptr)).empty());
    BOOST_TEST(detail::to_member(static_cast<const virDomainEventGraphicsAddress*>(nullptr)).node.empty());
    BOOST_TEST(detail::to_member(static_cast<const virDomainEventGraphicsSubject*>(nullptr)).empty());
    BOOST_TEST(detail::to_parameters(nullptr, 0).empty());
}

BOOST_AUTO_TEST_CASE(graphics_addresses_and_subjects_are_converted)
{
    std::string node = "192.0.2.1", service = "5900", type = "x509dname", name = "CN=somebody";
    const virDomainEventGraphicsAddress address{
        VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV4, node.data(), service.data()};
    const auto converted = detail::to_member(&address);
    BOOST_TEST(converted.family == VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV4);
    BOOST_TEST(converted.node == node);
    BOOST_TEST(converted.service == service);

    virDomainEventGraphicsSubjectIdentity identities[] = {{type.data(), name.data()}, {type.data(), nullptr}};
    const virDomainEventGraphicsSubject subject{2, identities};
    const auto converted_subject = detail::to_member(&subject);
    BOOST_TEST_REQUIRE(converted_subject.size() == 2u);
    BOOST_TEST(converted_subject[0].type == type);
    BOOST_TEST(converted_subject[0].name == name);
    BOOST_TEST(converted_subject[1].name.empty());
}

BOOST_AUTO_TEST_CASE(typed_parameters_are_converted)
{
    BOOST_REQUIRE(virInitialize() == 0); // Otherwise libvirt's error of this thread is garbage.
    virTypedParameterPtr params = nullptr;
    int count = 0, room = 0;
    virTypedParamsAddInt(&params, &count, &room, "int", -1);
    virTypedParamsAddUInt(&params, &count, &room, "uint", 2);
    virTypedParamsAddLLong(&params, &count, &room, "llong", -3);
    virTypedParamsAddULLong(&params, &count, &room, "ullong", 4);
    virTypedParamsAddDouble(&params, &count, &room, "double", 0.5);
    virTypedParamsAddBoolean(&params, &count, &room, "boolean", 1);
    virTypedParamsAddString(&params, &count, &room, "string", "text");
    const auto converted = detail::to_parameters(params, count);
    virTypedParamsFree(params, count);
    BOOST_TEST_REQUIRE(converted.size() == 7u);
    BOOST_TEST(converted[0].field == "int");
    BOOST_TEST(std::get<int>(converted[0].value) == -1);
    BOOST_TEST(std::get<unsigned>(converted[1].value) == 2u);
    BOOST_TEST(std::get<long long>(converted[2].value) == -3);
    BOOST_TEST(std::get<unsigned long long>(converted[3].value) == 4u);
    BOOST_TEST(std::get<double>(converted[4].value) == 0.5);
    BOOST_TEST(std::get<bool>(converted[5].value));
    BOOST_TEST(std::get<std::string>(converted[6].value) == "text");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
