// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <string>

namespace avirt {

// What a stream can be opened on: functions `int(virConnectPtr, virStreamPtr)` that start a stream of
// libvirt's. They are called on a worker thread, and look their objects up through the connection that they
// are given. They fail by a negative result or by throwing. Any other callable of that form will do too.
//
// In a coroutine, name the opener before the co_await expression: GCC 12 copies a temporary aggregate
// bytewise there, and a std::string inside does not survive that.

/// A guest's console: what is sent goes to the guest's serial line, what is received comes from it.
///
/// Errors: condition::not_found (no such domain, or no such device), condition::guest_gone (it is not
/// running), condition::console_in_use, and libvirt's.
///
/// libvirt: virDomainLookupByName, virDomainLookupByUUIDString, virDomainOpenConsole.
///
/// @code
/// avirt::console where{.domain = "vm1"};
/// co_await stream.async_open(conn, where, asio::use_awaitable);
/// @endcode
struct console
{
    std::string domain{}; ///< Name or UUID.
    std::string device{}; ///< Alias, as "serial0"; empty: the first console.
    unsigned flags = 0;   ///< VIR_DOMAIN_CONSOLE_FORCE, VIR_DOMAIN_CONSOLE_SAFE.

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// A picture of a guest's screen, in the format that the driver chooses. Read to eof.
///
/// Errors: condition::not_found, condition::guest_gone, condition::not_supported, and libvirt's.
///
/// libvirt: virDomainScreenshot.
struct screenshot
{
    std::string domain{}; ///< Name or UUID.
    unsigned screen = 0;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

} // namespace avirt
