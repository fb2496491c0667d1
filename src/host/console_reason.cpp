// SPDX-License-Identifier: BSL-1.0
#include "host/console_reason.hpp"

#include <avirt/to_string.hpp>

#include <boost/asio/error.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <utility>

namespace avirt::detail {
namespace {

error_details described(std::string message)
{
    error_details d;
    d.domain = VIR_FROM_DOM;
    d.level = VIR_ERR_WARNING;
    d.message = std::move(message);
    return d;
}

} // namespace

bool is_active(int state) noexcept
{
    return state != VIR_DOMAIN_SHUTDOWN && state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED;
}

error_details reason_of(const domain_status& domain)
{
    if (is_active(domain.state))
        return {};
    const auto state = static_cast<virDomainState>(domain.state);
    return described(std::string(to_string(state)).append(": ").append(to_string(state, domain.reason)));
}

error_details no_such_domain(const std::string& name)
{
    auto d = described("Domain not found: no domain has the name or UUID '" + name + "'");
    d.code = VIR_ERR_NO_DOMAIN;
    d.level = VIR_ERR_ERROR;
    return d;
}

error_details reason_of(failure why)
{
    if (why.details.message.empty() && why.code != asio::error::eof)
        why.details.message = why.code.message();
    return std::move(why.details);
}

console_state state_after(const failure& why)
{
    if (why.code == asio::error::eof || why.code == condition::guest_gone
        || why.details.code == VIR_ERR_NO_DOMAIN)
        return console_state::off;
    if (why.code == condition::console_taken_over)
        return console_state::taken_over;
    if (why.code == condition::connection_lost || why.code == error::not_open)
        return console_state::opening;
    return console_state::unavailable;
}

bool is_permanent(const failure& why)
{
    if (why.code == condition::denied)
        return why.details.code != VIR_ERR_SYSTEM_ERROR; // That comes from a terminal that ceases to exist.
    return why.code == condition::not_supported
        || (why.code == condition::not_found && why.details.code != VIR_ERR_NO_DOMAIN);
}

} // namespace avirt::detail
