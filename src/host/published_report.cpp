// SPDX-License-Identifier: BSL-1.0
#include "host/published_report.hpp"

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

host_report copy_of(const host_report& report)
{
    return std::visit([](const auto& r) -> host_report { return copy_of(r); }, report);
}

} // namespace avirt::detail
