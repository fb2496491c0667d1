// SPDX-License-Identifier: BSL-1.0
#include "host/published_report.hpp"

#include <algorithm>
#include <variant>

namespace avirt::detail {
namespace {

domain_status copy_of(const domain_status& status)
{
    return {status.domain.ref(), status.name, status.uuid, status.state, status.reason};
}

domain_changed copy_of(const domain_changed& report)
{
    return {copy_of(report.status), report.is_gone, report.event, report.detail};
}

host_disconnected copy_of(const host_disconnected& report)
{
    return report;
}

host_connected copy_of(const host_connected& report)
{
    host_connected copy;
    copy.domains.reserve(report.domains.size());
    for (const auto& d : report.domains)
        copy.domains.push_back(copy_of(d));
    copy.missed.reserve(report.missed.size());
    for (const auto& m : report.missed)
        copy.missed.push_back(copy_of(m));
    return copy;
}

} // namespace

host_report copy_of(const published_report& published, std::chrono::steady_clock::time_point now)
{
    using std::chrono::milliseconds;
    auto copy = std::visit([](const auto& r) -> host_report { return copy_of(r); }, published.report);
    if (auto* disconnected = std::get_if<host_disconnected>(&copy)) {
        const auto age = std::chrono::duration_cast<milliseconds>(now - published.made_at);
        disconnected->retry_in = std::max(disconnected->retry_in - age, milliseconds(0));
    }
    return copy;
}

} // namespace avirt::detail
