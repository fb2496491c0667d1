// SPDX-License-Identifier: BSL-1.0
#include <avirt/to_string.hpp>

#include <cstddef>
#include <span>

// The names stand in the order of libvirt's enumerators, and contain those of newer versions than the oldest
// that avirt supports.
namespace avirt {
namespace {

using names = std::span<const std::string_view>;

std::string_view name(names all, int value) noexcept
{
    return value >= 0 && static_cast<std::size_t>(value) < all.size() ? all[static_cast<std::size_t>(value)]
                                                                      : "unknown";
}

constexpr std::string_view states[] = {"no state",      "running",  "blocked", "paused",
                                       "shutting down", "shut off", "crashed", "pm-suspended"};

constexpr std::string_view reasons_of_running[] = {
    "unknown",
    "booted",
    "migrated",
    "restored",
    "reverted to snapshot",
    "unpaused",
    "migration canceled",
    "save canceled",
    "woken up",
    "crashed",
    "post-copy",
    "post-copy failed"};
constexpr std::string_view reasons_of_paused[] = {"unknown",       "user",
                                                  "migration",     "save",
                                                  "dump",          "I/O error",
                                                  "watchdog",      "reverted to snapshot",
                                                  "shutting down", "creating snapshot",
                                                  "crashed",       "starting up",
                                                  "post-copy",     "post-copy failed",
                                                  "API error"};
constexpr std::string_view reasons_of_shutdown[] = {"unknown", "user"};
constexpr std::string_view reasons_of_shutoff[] = {
    "unknown", "shut down", "destroyed", "crashed", "migrated", "saved", "failed", "reverted to snapshot",
    "daemon"};
constexpr std::string_view reasons_of_crashed[] = {"unknown", "panicked"};

names reasons_of(virDomainState state) noexcept
{
    switch (static_cast<int>(state)) {
    case VIR_DOMAIN_RUNNING:
        return reasons_of_running;
    case VIR_DOMAIN_PAUSED:
        return reasons_of_paused;
    case VIR_DOMAIN_SHUTDOWN:
        return reasons_of_shutdown;
    case VIR_DOMAIN_SHUTOFF:
        return reasons_of_shutoff;
    case VIR_DOMAIN_CRASHED:
        return reasons_of_crashed;
    default:
        return {};
    }
}

constexpr std::string_view events[] = {"defined", "undefined", "started",      "suspended", "resumed",
                                       "stopped", "shut down", "pm-suspended", "crashed"};

constexpr std::string_view details_of_defined[] = {"added", "updated", "renamed", "reverted to snapshot"};
constexpr std::string_view details_of_undefined[] = {"removed", "renamed"};
constexpr std::string_view details_of_started[] = {
    "booted", "migrated", "restored", "reverted to snapshot", "woken up"};
constexpr std::string_view details_of_suspended[] = {"paused",    "migrated",  "I/O error",
                                                     "watchdog",  "restored",  "reverted to snapshot",
                                                     "API error", "post-copy", "post-copy failed"};
constexpr std::string_view details_of_resumed[] = {
    "unpaused", "migrated", "reverted to snapshot", "post-copy", "post-copy failed"};
constexpr std::string_view details_of_stopped[] = {
    "shut down", "destroyed", "crashed", "migrated", "saved", "failed", "reverted to snapshot"};
constexpr std::string_view details_of_shutdown[] = {"finished", "by the guest", "by the host"};
constexpr std::string_view details_of_pmsuspended[] = {"memory", "disk"};
constexpr std::string_view details_of_crashed[] = {"panicked", "crash loaded"};

names details_of(virDomainEventType event) noexcept
{
    switch (static_cast<int>(event)) {
    case VIR_DOMAIN_EVENT_DEFINED:
        return details_of_defined;
    case VIR_DOMAIN_EVENT_UNDEFINED:
        return details_of_undefined;
    case VIR_DOMAIN_EVENT_STARTED:
        return details_of_started;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        return details_of_suspended;
    case VIR_DOMAIN_EVENT_RESUMED:
        return details_of_resumed;
    case VIR_DOMAIN_EVENT_STOPPED:
        return details_of_stopped;
    case VIR_DOMAIN_EVENT_SHUTDOWN:
        return details_of_shutdown;
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        return details_of_pmsuspended;
    case VIR_DOMAIN_EVENT_CRASHED:
        return details_of_crashed;
    default:
        return {};
    }
}

} // namespace

std::string_view to_string(virDomainState state) noexcept
{
    return name(states, static_cast<int>(state));
}

std::string_view to_string(virDomainState state, int reason) noexcept
{
    return name(reasons_of(state), reason);
}

std::string_view to_string(virDomainEventType event) noexcept
{
    return name(events, static_cast<int>(event));
}

std::string_view to_string(virDomainEventType event, int detail) noexcept
{
    return name(details_of(event), detail);
}

} // namespace avirt
