// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/domain_status.hpp>
#include <avirt/error.hpp>

#include <chrono>
#include <variant>
#include <vector>

namespace avirt {

/// Reports that something happened to a domain.
struct domain_changed
{
    domain_status status{}; ///< The domain's state afterwards.
    bool is_gone = false;   ///< Whether the domain no longer exists; its state is VIR_DOMAIN_NOSTATE then.
    int event = 0;          ///< virDomainEventType: what happened.
    int detail = 0;         ///< The detail of that event, such as virDomainEventStartedDetailType.
};

/// Reports that the connection is open: for the first time, again, or still, after reports were lost.
///
/// The handles keep libvirt's connection alive: run() does not return before they are destroyed.
struct host_connected
{
    /// All domains. They replace everything that was reported before.
    std::vector<domain_status> domains{};
    /// Each domain whose state is not the one that the host's receivers were told last; empty when the host
    /// has been connected for the first time. What happened meanwhile is not known: the event is the one that
    /// leads from the former state to the present one, or -1 if no single event does, which is no
    /// virDomainEventType; the detail is -1.
    std::vector<domain_changed> missed{};
};

/// Reports that the connection is lost, or could not be opened.
struct host_disconnected
{
    error_code error{};
    error_details details{};
    std::chrono::milliseconds retry_in{}; ///< Time left until the next attempt to open the connection.
};

/// What a supervised connection reports.
using host_report = std::variant<host_connected, host_disconnected, domain_changed>;

} // namespace avirt
