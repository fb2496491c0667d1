// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/handle.hpp>

#include <libvirt/libvirt.h>

#include <string>
#include <type_traits>
#include <variant>
#include <vector>

/// Events: one type for each of libvirt's event ids, named after the id. The first member is the object that
/// the event is about; the others are the parameters of libvirt's callback, under their names. A text that
/// libvirt omits (a null pointer) is empty. The values of the numbers are libvirt's.
///
/// Events that the libvirt of this build does not know have no type.
namespace avirt {

// Domains -------------------------------------------------------------------------------------------------

/// VIR_DOMAIN_EVENT_ID_LIFECYCLE: a domain was started, stopped, suspended, ...
struct domain_lifecycle
{
    avirt::domain domain{};
    int event = 0;  ///< virDomainEventType
    int detail = 0; ///< the detail of that event, such as virDomainEventStartedDetailType
};

/// VIR_DOMAIN_EVENT_ID_REBOOT
struct domain_reboot
{
    avirt::domain domain{};
};

/// VIR_DOMAIN_EVENT_ID_RTC_CHANGE
struct domain_rtc_change
{
    avirt::domain domain{};
    long long utcoffset = 0; ///< seconds
};

/// VIR_DOMAIN_EVENT_ID_WATCHDOG
struct domain_watchdog
{
    avirt::domain domain{};
    int action = 0; ///< virDomainEventWatchdogAction
};

/// VIR_DOMAIN_EVENT_ID_IO_ERROR
struct domain_io_error
{
    avirt::domain domain{};
    std::string srcPath{};
    std::string devAlias{};
    int action = 0; ///< virDomainEventIOErrorAction
};

/// virDomainEventGraphicsAddress
struct graphics_address
{
    int family = 0; ///< virDomainEventGraphicsAddressType
    std::string node{};
    std::string service{};
};

/// virDomainEventGraphicsSubjectIdentity
struct graphics_identity
{
    std::string type{};
    std::string name{};
};

/// VIR_DOMAIN_EVENT_ID_GRAPHICS: a client of a domain's display came or went.
struct domain_graphics
{
    avirt::domain domain{};
    int phase = 0; ///< virDomainEventGraphicsPhase
    graphics_address local{};
    graphics_address remote{};
    std::string authScheme{};
    std::vector<graphics_identity> subject{};
};

/// VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON
struct domain_io_error_reason
{
    avirt::domain domain{};
    std::string srcPath{};
    std::string devAlias{};
    int action = 0; ///< virDomainEventIOErrorAction
    std::string reason{};
};

/// VIR_DOMAIN_EVENT_ID_CONTROL_ERROR
struct domain_control_error
{
    avirt::domain domain{};
};

/// VIR_DOMAIN_EVENT_ID_BLOCK_JOB
struct domain_block_job
{
    avirt::domain domain{};
    std::string disk{};
    int type = 0;   ///< virDomainBlockJobType
    int status = 0; ///< virConnectDomainEventBlockJobStatus
};

/// VIR_DOMAIN_EVENT_ID_DISK_CHANGE
struct domain_disk_change
{
    avirt::domain domain{};
    std::string oldSrcPath{};
    std::string newSrcPath{};
    std::string devAlias{};
    int reason = 0; ///< virConnectDomainEventDiskChangeReason
};

/// VIR_DOMAIN_EVENT_ID_TRAY_CHANGE
struct domain_tray_change
{
    avirt::domain domain{};
    std::string devAlias{};
    int reason = 0; ///< virDomainEventTrayChangeReason
};

/// VIR_DOMAIN_EVENT_ID_PMWAKEUP
struct domain_pmwakeup
{
    avirt::domain domain{};
    int reason = 0;
};

/// VIR_DOMAIN_EVENT_ID_PMSUSPEND
struct domain_pmsuspend
{
    avirt::domain domain{};
    int reason = 0;
};

/// VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE
struct domain_balloon_change
{
    avirt::domain domain{};
    unsigned long long actual = 0; ///< KiB
};

/// VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK
struct domain_pmsuspend_disk
{
    avirt::domain domain{};
    int reason = 0;
};

/// VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
struct domain_device_removed
{
    avirt::domain domain{};
    std::string devAlias{};
};

/// VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2
struct domain_block_job_2
{
    avirt::domain domain{};
    std::string disk{};
    int type = 0;   ///< virDomainBlockJobType
    int status = 0; ///< virConnectDomainEventBlockJobStatus
};

/// A virTypedParameter.
struct typed_parameter
{
    std::string field{};
    std::variant<int, unsigned, long long, unsigned long long, double, bool, std::string> value{};
};

/// VIR_DOMAIN_EVENT_ID_TUNABLE
struct domain_tunable
{
    avirt::domain domain{};
    std::vector<typed_parameter> params{};
};

/// VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE
struct domain_agent_lifecycle
{
    avirt::domain domain{};
    int state = 0;  ///< virConnectDomainEventAgentLifecycleState
    int reason = 0; ///< virConnectDomainEventAgentLifecycleReason
};

/// VIR_DOMAIN_EVENT_ID_DEVICE_ADDED
struct domain_device_added
{
    avirt::domain domain{};
    std::string devAlias{};
};

/// VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION
struct domain_migration_iteration
{
    avirt::domain domain{};
    int iteration = 0;
};

/// VIR_DOMAIN_EVENT_ID_JOB_COMPLETED
struct domain_job_completed
{
    avirt::domain domain{};
    std::vector<typed_parameter> params{};
};

/// VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED
struct domain_device_removal_failed
{
    avirt::domain domain{};
    std::string devAlias{};
};

/// VIR_DOMAIN_EVENT_ID_METADATA_CHANGE
struct domain_metadata_change
{
    avirt::domain domain{};
    int type = 0; ///< virDomainMetadataType
    std::string nsuri{};
};

/// VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD
struct domain_block_threshold
{
    avirt::domain domain{};
    std::string dev{};
    std::string path{};
    unsigned long long threshold = 0; ///< bytes
    unsigned long long excess = 0;    ///< bytes
};

/// VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE
struct domain_memory_failure
{
    avirt::domain domain{};
    int recipient = 0;  ///< virDomainEventMemoryFailureRecipientType
    int action = 0;     ///< virDomainEventMemoryFailureActionType
    unsigned flags = 0; ///< virDomainEventMemoryFailureFlags
};

/// VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE
struct domain_memory_device_size_change
{
    avirt::domain domain{};
    std::string alias{};
    unsigned long long size = 0; ///< KiB
};

#if LIBVIR_CHECK_VERSION(11, 2, 0)
/// VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE
struct domain_nic_mac_change
{
    avirt::domain domain{};
    std::string alias{};
    std::string oldMAC{};
    std::string newMAC{};
};
#endif

#if LIBVIR_CHECK_VERSION(12, 4, 0)
/// VIR_DOMAIN_EVENT_ID_VCPU_REMOVED
struct domain_vcpu_removed
{
    avirt::domain domain{};
    unsigned vcpuid = 0;
};

/// VIR_DOMAIN_EVENT_ID_CHANNEL_LIFECYCLE
struct domain_channel_lifecycle
{
    avirt::domain domain{};
    std::string channelName{};
    int state = 0;  ///< virConnectDomainEventChannelLifecycleState
    int reason = 0; ///< virConnectDomainEventChannelLifecycleReason
};
#endif

// Networks ------------------------------------------------------------------------------------------------

/// VIR_NETWORK_EVENT_ID_LIFECYCLE
struct network_lifecycle
{
    avirt::network network{};
    int event = 0; ///< virNetworkEventLifecycleType
    int detail = 0;
};

#if LIBVIR_CHECK_VERSION(9, 8, 0)
/// VIR_NETWORK_EVENT_ID_METADATA_CHANGE
struct network_metadata_change
{
    avirt::network network{};
    int type = 0; ///< virNetworkMetadataType
    std::string nsuri{};
};
#endif

// Storage pools -------------------------------------------------------------------------------------------

/// VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE
struct storage_pool_lifecycle
{
    avirt::storage_pool pool{};
    int event = 0; ///< virStoragePoolEventLifecycleType
    int detail = 0;
};

/// VIR_STORAGE_POOL_EVENT_ID_REFRESH
struct storage_pool_refresh
{
    avirt::storage_pool pool{};
};

// Node devices --------------------------------------------------------------------------------------------

/// VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE
struct node_device_lifecycle
{
    avirt::node_device device{};
    int event = 0; ///< virNodeDeviceEventLifecycleType
    int detail = 0;
};

/// VIR_NODE_DEVICE_EVENT_ID_UPDATE
struct node_device_update
{
    avirt::node_device device{};
};

// Secrets -------------------------------------------------------------------------------------------------

/// VIR_SECRET_EVENT_ID_LIFECYCLE
struct secret_lifecycle
{
    avirt::secret secret{};
    int event = 0; ///< virSecretEventLifecycleType
    int detail = 0;
};

/// VIR_SECRET_EVENT_ID_VALUE_CHANGED
struct secret_value_changed
{
    avirt::secret secret{};
};

namespace detail {

/// The event id and the callback type of libvirt that correspond to an event type.
template <class Event>
struct event_traits;

#define AVIRT_EVENT(Event, Id, Callback)         \
    template <>                                  \
    struct event_traits<Event>                   \
    {                                            \
        static constexpr int id = Id;            \
        using callback = std::decay_t<Callback>; \
    }

AVIRT_EVENT(domain_lifecycle, VIR_DOMAIN_EVENT_ID_LIFECYCLE, virConnectDomainEventCallback);
AVIRT_EVENT(domain_reboot, VIR_DOMAIN_EVENT_ID_REBOOT, virConnectDomainEventGenericCallback);
AVIRT_EVENT(domain_rtc_change, VIR_DOMAIN_EVENT_ID_RTC_CHANGE, virConnectDomainEventRTCChangeCallback);
AVIRT_EVENT(domain_watchdog, VIR_DOMAIN_EVENT_ID_WATCHDOG, virConnectDomainEventWatchdogCallback);
AVIRT_EVENT(domain_io_error, VIR_DOMAIN_EVENT_ID_IO_ERROR, virConnectDomainEventIOErrorCallback);
AVIRT_EVENT(domain_graphics, VIR_DOMAIN_EVENT_ID_GRAPHICS, virConnectDomainEventGraphicsCallback);
AVIRT_EVENT(
    domain_io_error_reason, VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, virConnectDomainEventIOErrorReasonCallback);
AVIRT_EVENT(domain_control_error, VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, virConnectDomainEventGenericCallback);
AVIRT_EVENT(domain_block_job, VIR_DOMAIN_EVENT_ID_BLOCK_JOB, virConnectDomainEventBlockJobCallback);
AVIRT_EVENT(domain_disk_change, VIR_DOMAIN_EVENT_ID_DISK_CHANGE, virConnectDomainEventDiskChangeCallback);
AVIRT_EVENT(domain_tray_change, VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, virConnectDomainEventTrayChangeCallback);
AVIRT_EVENT(domain_pmwakeup, VIR_DOMAIN_EVENT_ID_PMWAKEUP, virConnectDomainEventPMWakeupCallback);
AVIRT_EVENT(domain_pmsuspend, VIR_DOMAIN_EVENT_ID_PMSUSPEND, virConnectDomainEventPMSuspendCallback);
AVIRT_EVENT(
    domain_balloon_change, VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, virConnectDomainEventBalloonChangeCallback);
AVIRT_EVENT(
    domain_pmsuspend_disk, VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK, virConnectDomainEventPMSuspendDiskCallback);
AVIRT_EVENT(
    domain_device_removed, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, virConnectDomainEventDeviceRemovedCallback);
AVIRT_EVENT(domain_block_job_2, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, virConnectDomainEventBlockJobCallback);
AVIRT_EVENT(domain_tunable, VIR_DOMAIN_EVENT_ID_TUNABLE, virConnectDomainEventTunableCallback);
AVIRT_EVENT(
    domain_agent_lifecycle, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, virConnectDomainEventAgentLifecycleCallback);
AVIRT_EVENT(domain_device_added, VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, virConnectDomainEventDeviceAddedCallback);
AVIRT_EVENT(
    domain_migration_iteration, VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
    virConnectDomainEventMigrationIterationCallback);
AVIRT_EVENT(
    domain_job_completed, VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, virConnectDomainEventJobCompletedCallback);
AVIRT_EVENT(
    domain_device_removal_failed, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
    virConnectDomainEventDeviceRemovalFailedCallback);
AVIRT_EVENT(
    domain_metadata_change, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, virConnectDomainEventMetadataChangeCallback);
AVIRT_EVENT(
    domain_block_threshold, VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, virConnectDomainEventBlockThresholdCallback);
AVIRT_EVENT(
    domain_memory_failure, VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE, virConnectDomainEventMemoryFailureCallback);
AVIRT_EVENT(
    domain_memory_device_size_change, VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE,
    virConnectDomainEventMemoryDeviceSizeChangeCallback);
#if LIBVIR_CHECK_VERSION(11, 2, 0)
AVIRT_EVENT(
    domain_nic_mac_change, VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE, virConnectDomainEventNICMACChangeCallback);
#endif
#if LIBVIR_CHECK_VERSION(12, 4, 0)
AVIRT_EVENT(domain_vcpu_removed, VIR_DOMAIN_EVENT_ID_VCPU_REMOVED, virConnectDomainEventVcpuRemovedCallback);
AVIRT_EVENT(
    domain_channel_lifecycle, VIR_DOMAIN_EVENT_ID_CHANNEL_LIFECYCLE,
    virConnectDomainEventChannelLifecycleCallback);
#endif
AVIRT_EVENT(network_lifecycle, VIR_NETWORK_EVENT_ID_LIFECYCLE, virConnectNetworkEventLifecycleCallback);
#if LIBVIR_CHECK_VERSION(9, 8, 0)
AVIRT_EVENT(
    network_metadata_change, VIR_NETWORK_EVENT_ID_METADATA_CHANGE,
    virConnectNetworkEventMetadataChangeCallback);
#endif
AVIRT_EVENT(
    storage_pool_lifecycle, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, virConnectStoragePoolEventLifecycleCallback);
AVIRT_EVENT(
    storage_pool_refresh, VIR_STORAGE_POOL_EVENT_ID_REFRESH, virConnectStoragePoolEventGenericCallback);
AVIRT_EVENT(
    node_device_lifecycle, VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, virConnectNodeDeviceEventLifecycleCallback);
AVIRT_EVENT(node_device_update, VIR_NODE_DEVICE_EVENT_ID_UPDATE, virConnectNodeDeviceEventGenericCallback);
AVIRT_EVENT(secret_lifecycle, VIR_SECRET_EVENT_ID_LIFECYCLE, virConnectSecretEventLifecycleCallback);
AVIRT_EVENT(secret_value_changed, VIR_SECRET_EVENT_ID_VALUE_CHANGED, virConnectSecretEventGenericCallback);
#undef AVIRT_EVENT

} // namespace detail
/// One of the types above.
template <class T>
concept libvirt_event = requires
{
    detail::event_traits<T>::id;
};

} // namespace avirt
