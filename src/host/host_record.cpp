// SPDX-License-Identifier: BSL-1.0
#include "host/host_record.hpp"

#include <optional>
#include <utility>
#include <variant>

namespace avirt::detail {
namespace {

constexpr int unknown = -1; // an event or detail that libvirt has not reported

/// The lifecycle event that leads from one state to another, if a single one does.
int event_between(std::optional<int> before, std::optional<int> after) noexcept
{
    const auto is_active = [](int state) {
        return state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_PAUSED;
    };
    if (!before)
        return after == VIR_DOMAIN_SHUTOFF ? VIR_DOMAIN_EVENT_DEFINED : unknown;
    if (!after)
        return before == VIR_DOMAIN_SHUTOFF ? VIR_DOMAIN_EVENT_UNDEFINED : unknown;
    if (before == VIR_DOMAIN_SHUTOFF && after == VIR_DOMAIN_RUNNING)
        return VIR_DOMAIN_EVENT_STARTED;
    if (before == VIR_DOMAIN_RUNNING && after == VIR_DOMAIN_PAUSED)
        return VIR_DOMAIN_EVENT_SUSPENDED;
    if (before == VIR_DOMAIN_PAUSED && after == VIR_DOMAIN_RUNNING)
        return VIR_DOMAIN_EVENT_RESUMED;
    if (is_active(*before) && after == VIR_DOMAIN_SHUTOFF)
        return VIR_DOMAIN_EVENT_STOPPED;
    if (after == VIR_DOMAIN_CRASHED)
        return VIR_DOMAIN_EVENT_CRASHED;
    if (after == VIR_DOMAIN_PMSUSPENDED)
        return VIR_DOMAIN_EVENT_PMSUSPENDED;
    return unknown;
}

domain_status without_handle(const domain_status& status)
{
    return {{}, status.name, status.uuid, status.state, status.reason};
}

} // namespace

report_ptr host_record::connected(std::vector<domain_status> domains)
{
    told_states before;
    if (has_been_connected_) {
        for (const auto& [uuid, status] : domains_)
            before.emplace(uuid, previous_state{uuid, status.name, status.state});
        for (const auto& d : domains)
            before.try_emplace(d.uuid, previous_state{d.uuid, d.name, std::nullopt});
    }
    domains_.clear();
    for (auto& d : domains)
        domains_.insert_or_assign(d.uuid, std::move(d));
    is_connected_ = has_been_connected_ = true;
    last_disconnected_.reset();
    present_.reset();
    return present_to(before);
}

report_ptr host_record::disconnected(host_disconnected why)
{
    for (auto& [uuid, status] : domains_)
        status.domain = {};
    is_connected_ = false;
    last_disconnected_ = std::make_shared<published_report>(published_report{std::move(why)});
    present_.reset();
    return last_disconnected_;
}

report_ptr host_record::changed(domain_changed change)
{
    const auto& now = change.status;
    const auto found = domains_.find(now.uuid);
    previous_state before{now.uuid, now.name, std::nullopt};
    if (found != domains_.end())
        before.state = found->second.state;
    auto handle = std::exchange(change.status.domain, {});
    if (change.is_gone) {
        domains_.erase(now.uuid);
    }
    else {
        auto& known = domains_[now.uuid];
        known = without_handle(now);
        known.domain = std::move(handle);
    }
    present_.reset();
    return std::make_shared<published_report>(published_report{std::move(change), {std::move(before)}});
}

report_ptr host_record::present() const
{
    if (!is_connected_)
        return last_disconnected_;
    if (!present_)
        present_ = present_to({});
    return present_;
}

report_ptr host_record::present_to(const told_states& told) const
{
    if (!is_connected_)
        return last_disconnected_;
    host_connected now;
    now.domains.reserve(domains_.size());
    for (const auto& [uuid, status] : domains_)
        now.domains.push_back(without_handle(status));
    std::vector<previous_state> previous;
    for (const auto& [uuid, before] : told) {
        if (has_changed(before)) {
            now.missed.push_back(change_since(before));
            previous.push_back(before);
        }
    }
    return std::make_shared<published_report>(published_report{std::move(now), std::move(previous)});
}

void host_record::add_handles(host_report& report) const
{
    if (auto* connected = std::get_if<host_connected>(&report)) {
        for (auto& status : connected->domains)
            add_handle(status);
        for (auto& missed : connected->missed)
            add_handle(missed.status);
    }
    else if (auto* changed = std::get_if<domain_changed>(&report)) {
        add_handle(changed->status);
    }
}

void host_record::add_handle(domain_status& status) const
{
    if (const auto found = domains_.find(status.uuid); found != domains_.end())
        status.domain = found->second.domain.ref();
}

void host_record::clear()
{
    *this = {};
}

bool host_record::has_changed(const previous_state& before) const
{
    const auto found = domains_.find(before.uuid);
    if (found == domains_.end())
        return before.state.has_value();
    return found->second.state != before.state;
}

domain_changed host_record::change_since(const previous_state& before) const
{
    domain_changed change;
    change.detail = unknown;
    const auto found = domains_.find(before.uuid);
    if (found == domains_.end()) {
        change.is_gone = true;
        change.status.uuid = before.uuid;
        change.status.name = before.name;
        change.event = event_between(before.state, std::nullopt);
        return change;
    }
    change.status = without_handle(found->second);
    change.event = event_between(before.state, found->second.state);
    return change;
}

} // namespace avirt::detail
