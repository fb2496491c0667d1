// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "event_text.hpp"

#include <avirt/event_source.hpp>
#include <support/xdr.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// The messages that libvirtd sends for each type of event, and the events that have to arrive. The numbers
// and the order are those of libvirt's src/remote/remote_protocol.x.

template <class Event>
struct event_message
{
    /// The event is given without its object.
    event_message(support::encoded message, const Event& event)
        : body(std::move(message)),
          news(text_of_news(event))
    {
    }

    support::encoded body; ///< The message without the callback id.
    std::string news;      ///< The text of the event without its object.
};

template <class Event>
struct event_entry
{
    std::uint32_t procedure;
    std::vector<event_message<Event>> messages;
    /// Used by a daemon without callback ids; 0 if such a daemon does not know the event.
    std::uint32_t old_procedure = 0;
    std::vector<event_message<Event>> old_messages{}; ///< Empty if they are the same as `messages`.
};

/// The object that an event is about, as libvirtd sends it and as text.
struct wire_object
{
    support::encoded wire;
    std::string text;
};

inline wire_object object_on_wire(avirt::detail::event_object kind)
{
    using avirt::detail::event_object;
    const support::encoded uuid{std::string("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\377", 16)};
    const std::string uuid_text = "00010203-0405-0607-0809-0a0b0c0d0eff";
    switch (kind) {
    case event_object::network:
    case event_object::storage_pool:
        return {support::xdr("other", uuid), "other " + uuid_text};
    case event_object::node_device:
        return {support::xdr("other"), "other"};
    case event_object::secret:
        return {support::xdr(uuid, 2, "target"), uuid_text + " 2 target"};
    case event_object::domain:
        break;
    }
    return {support::xdr("other", uuid, 7), "other " + uuid_text + " 7"};
}

inline auto make_event_table()
{
    using namespace avirt;
    using avirt::detail::event_object;
    using std::nullopt;
    using support::xdr;
    using text = std::optional<std::string>;
    using list = std::vector<support::encoded>;

    const auto domain = object_on_wire(event_object::domain).wire;
    const auto network = object_on_wire(event_object::network).wire;
    const auto pool = object_on_wire(event_object::storage_pool).wire;
    const auto device = object_on_wire(event_object::node_device).wire;
    const auto secret = object_on_wire(event_object::secret).wire;

    const list parameters{xdr("a", 1, -1),
                          xdr("b", 2, 4294967295u),
                          xdr("c", 3, -5000000000ll),
                          xdr("d", 4, 18446744073709551615ull),
                          xdr("e", 5, 0.5),
                          xdr("f", 6, 1),
                          xdr("g", 7, "text"),
                          xdr("h", 7, "")};
    const std::vector<typed_parameter> params{
        {"a", -1},  {"b", 4294967295u}, {"c", -5000000000ll},       {"d", 18446744073709551615ull},
        {"e", 0.5}, {"f", true},        {"g", std::string("text")}, {"h", std::string()}};

    return std::tuple(
        event_entry<domain_lifecycle>{
            318,
            {{xdr(domain, 5, 3), {.event = 5, .detail = 3}},
             {xdr(domain, 0, -1), {.event = 0, .detail = -1}}},
            107},
        event_entry<domain_reboot>{319, {{xdr(domain), {}}}, 169},
        event_entry<domain_rtc_change>{
            320, {{xdr(domain, -5000000000ll), {.utcoffset = -5000000000ll}}}, 170},
        event_entry<domain_watchdog>{321, {{xdr(domain, 4), {.action = 4}}}, 171},
        event_entry<domain_io_error>{
            322,
            {{xdr(domain, "/a", "ide0", 2), {.srcPath = "/a", .devAlias = "ide0", .action = 2}},
             {xdr(domain, "", "", 1), {.action = 1}}},
            172},
        event_entry<domain_graphics>{
            323,
            {{xdr(domain, 1, xdr(2, "192.0.2.1", "5900"), xdr(3, "/run/x", "y"), "sasl",
                  list{xdr("x509dname", "CN=a"), xdr("saslUsername", "")}),
              {.phase = 1,
               .local = {.family = 2, .node = "192.0.2.1", .service = "5900"},
               .remote = {.family = 3, .node = "/run/x", .service = "y"},
               .authScheme = "sasl",
               .subject = {{.type = "x509dname", .name = "CN=a"}, {.type = "saslUsername"}}}},
             {xdr(domain, 0, xdr(0, "", ""), xdr(1, "", ""), "", list{}), {.remote = {.family = 1}}}},
            173},
        event_entry<domain_io_error_reason>{
            324,
            {{xdr(domain, "/a", "ide0", 3, "enospc"),
              {.srcPath = "/a", .devAlias = "ide0", .action = 3, .reason = "enospc"}},
             {xdr(domain, "", "", 0, ""), {}}},
            195},
        event_entry<domain_control_error>{325, {{xdr(domain), {}}}, 224},
        event_entry<domain_block_job>{
            326, {{xdr(domain, "/a", 3, 2), {.disk = "/a", .type = 3, .status = 2}}}, 241},
        event_entry<domain_disk_change>{
            327,
            {{xdr(domain, text("/old"), text("/new"), "ide0", 1),
              {.oldSrcPath = "/old", .newSrcPath = "/new", .devAlias = "ide0", .reason = 1}},
             {xdr(domain, nullopt, text("/new"), "ide0", 0), {.newSrcPath = "/new", .devAlias = "ide0"}},
             {xdr(domain, text("/old"), nullopt, "ide0", 0), {.oldSrcPath = "/old", .devAlias = "ide0"}}},
            248},
        event_entry<domain_tray_change>{
            328, {{xdr(domain, "ide1", 1), {.devAlias = "ide1", .reason = 1}}}, 268},
        event_entry<domain_pmwakeup>{329, {{xdr(9, domain), {.reason = 9}}}, 269, {{xdr(domain), {}}}},
        event_entry<domain_pmsuspend>{330, {{xdr(8, domain), {.reason = 8}}}, 270, {{xdr(domain), {}}}},
        event_entry<domain_balloon_change>{331, {{xdr(domain, 1ull << 63), {.actual = 1ull << 63}}}, 276},
        event_entry<domain_pmsuspend_disk>{332, {{xdr(6, domain), {.reason = 6}}}, 292, {{xdr(domain), {}}}},
        event_entry<domain_device_removed>{333, {{xdr(domain, "net0"), {.devAlias = "net0"}}}, 311},
        event_entry<domain_block_job_2>{
            339, {{xdr(domain, "vda", 4, 1), {.disk = "vda", .type = 4, .status = 1}}}},
        event_entry<domain_tunable>{
            346, {{xdr(domain, parameters), {.params = params}}, {xdr(domain, list{}), {}}}},
        event_entry<domain_agent_lifecycle>{348, {{xdr(domain, 2, 1), {.state = 2, .reason = 1}}}},
        event_entry<domain_device_added>{354, {{xdr(domain, "net1"), {.devAlias = "net1"}}}},
        event_entry<domain_migration_iteration>{359, {{xdr(domain, 12), {.iteration = 12}}}},
        event_entry<domain_job_completed>{
            363, {{xdr(domain, parameters), {.params = params}}, {xdr(domain, list{}), {}}}},
        event_entry<domain_device_removal_failed>{367, {{xdr(domain, "net2"), {.devAlias = "net2"}}}},
        event_entry<domain_metadata_change>{
            379,
            {{xdr(domain, 2, text("urn:a")), {.type = 2, .nsuri = "urn:a"}},
             {xdr(domain, 1, nullopt), {.type = 1}}}},
        event_entry<domain_block_threshold>{
            385,
            {{xdr(domain, "vda[1]", text("/a"), 5000000000ull, 6000000000ull),
              {.dev = "vda[1]", .path = "/a", .threshold = 5000000000ull, .excess = 6000000000ull}},
             {xdr(domain, "vda", nullopt, 1ull, 2ull), {.dev = "vda", .threshold = 1, .excess = 2}}}},
        event_entry<domain_memory_failure>{
            423, {{xdr(domain, 1, 3, 0x80000002u), {.recipient = 1, .action = 3, .flags = 0x80000002u}}}},
        event_entry<domain_memory_device_size_change>{
            438, {{xdr(domain, "dimm0", 5000000000ull), {.alias = "dimm0", .size = 5000000000ull}}}},
#if LIBVIR_CHECK_VERSION(11, 2, 0)
        event_entry<domain_nic_mac_change>{
            453,
            {{xdr(domain, "net0", "52:54:00:00:00:01", "52:54:00:00:00:02"),
              {.alias = "net0", .oldMAC = "52:54:00:00:00:01", .newMAC = "52:54:00:00:00:02"}}}},
#endif
#if LIBVIR_CHECK_VERSION(12, 4, 0)
        event_entry<domain_vcpu_removed>{454, {{xdr(domain, 4294967295u), {.vcpuid = 4294967295u}}}},
        event_entry<domain_channel_lifecycle>{
            455,
            {{xdr(domain, "org.example.0", 2, 1),
              {.channelName = "org.example.0", .state = 2, .reason = 1}}}},
#endif
        event_entry<network_lifecycle>{315, {{xdr(network, 3, 5), {.event = 3, .detail = 5}}}},
#if LIBVIR_CHECK_VERSION(9, 8, 0)
        event_entry<network_metadata_change>{
            446,
            {{xdr(network, 2, text("urn:a")), {.type = 2, .nsuri = "urn:a"}},
             {xdr(network, 1, nullopt), {.type = 1}}}},
#endif
        event_entry<storage_pool_lifecycle>{370, {{xdr(pool, 4, 6), {.event = 4, .detail = 6}}}},
        event_entry<storage_pool_refresh>{373, {{xdr(pool), {}}}},
        event_entry<node_device_lifecycle>{376, {{xdr(device, 1, 7), {.event = 1, .detail = 7}}}},
        event_entry<node_device_update>{377, {{xdr(device), {}}}},
        event_entry<secret_lifecycle>{382, {{xdr(secret, 1, 8), {.event = 1, .detail = 8}}}},
        event_entry<secret_value_changed>{383, {{xdr(secret), {}}}});
}

using event_table = decltype(make_event_table());

template <class Event>
const event_entry<Event>& entry_of()
{
    static const auto table = make_event_table();
    return std::get<event_entry<Event>>(table);
}

/// The kind of object that the event is about.
template <class Event>
constexpr auto object_kind = avirt::detail::event_callback<Event>::object;

template <class>
struct types_of_table;

template <class... Events>
struct types_of_table<std::tuple<event_entry<Events>...>>
{
    using list = std::tuple<Events...>;

    /// Whether the table contains each of libvirt's event ids for this kind of object exactly once.
    static constexpr bool has_all(avirt::detail::event_object kind, int last)
    {
        bool has = (0 + ... + (object_kind<Events> == kind)) == last;
        for (int id = 0; id < last; ++id)
            has = has
                && (0 + ... + (object_kind<Events> == kind && avirt::detail::event_traits<Events>::id == id))
                    == 1;
        return has;
    }
};

using event_types = types_of_table<event_table>;

static_assert(event_types::has_all(avirt::detail::event_object::domain, VIR_DOMAIN_EVENT_ID_LAST));
static_assert(event_types::has_all(avirt::detail::event_object::network, VIR_NETWORK_EVENT_ID_LAST));
static_assert(
    event_types::has_all(avirt::detail::event_object::storage_pool, VIR_STORAGE_POOL_EVENT_ID_LAST));
static_assert(event_types::has_all(avirt::detail::event_object::node_device, VIR_NODE_DEVICE_EVENT_ID_LAST));
static_assert(event_types::has_all(avirt::detail::event_object::secret, VIR_SECRET_EVENT_ID_LAST));
