// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>
#include <avirt/domain_status.hpp>

namespace avirt::detail {

/// Follows one domain of a host: a console session. The functions may be called by any thread, but not at the
/// same time, except on_turn_to_open().
class domain_follower
{
public:
    /// Whether the domain is the one that is followed.
    virtual bool follows(const domain_status& d) const = 0;
    virtual void on_host_away(const failure& why) = 0;
    virtual void on_host_closed(const failure& why) = 0;
    /// @param domain Null if it does not exist, or no longer.
    /// @param event virDomainEventType; -1: this is the present state, on a connection that has been opened.
    virtual void on_domain(const domain_status* domain, int event) = 0;
    /// It may open a console now, and has to call host_consoles::opened() afterwards.
    virtual void on_turn_to_open() = 0;

protected:
    ~domain_follower() = default;
};

} // namespace avirt::detail
