// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "host/published_report.hpp"

#include <map>
#include <string>
#include <vector>

namespace avirt::detail {

/// The states that a receiver was told last, of the domains of which it has missed reports. By UUID.
using told_states = std::map<std::string, previous_state>;

/// What is known of a host, and what its reports said last of each domain. Each function that learns
/// something returns the report of it, without handles: in a queue, they would keep lost connections alive.
/// Guarded by its owner's lock.
class host_record
{
public:
    report_ptr connected(std::vector<domain_status> domains);
    report_ptr disconnected(host_disconnected why);
    report_ptr changed(domain_changed change);

    /// The report with which a new receiver begins: host_connected or host_disconnected. Null as long as
    /// neither is the case.
    report_ptr present() const;

    /// The same for a receiver that has missed reports. If it is host_connected, it names the domains that
    /// are no longer in the state that the receiver was told.
    report_ptr present_to(const told_states& told) const;

    /// Whether the domain's state is not the same as before.
    bool has_changed(const previous_state& before) const;

    /// Adds the handles of the domains that exist, if the host is connected, to a report that is received.
    void add_handles(host_report& report) const;

    /// Forgets the host, and drops the references to its domains.
    void clear();

private:
    void add_handle(domain_status& status) const;
    domain_changed change_since(const previous_state& before) const;

    std::map<std::string, domain_status> domains_; // by UUID; without handles while the host is away
    bool is_connected_ = false;
    bool has_been_connected_ = false;
    report_ptr last_disconnected_;
    mutable report_ptr present_; // null: to be made
};

} // namespace avirt::detail
