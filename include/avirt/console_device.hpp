// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/handle.hpp>

#include <libvirt/libvirt.h>

#include <string>
#include <vector>

namespace avirt {

/// A device of a guest that is, or resembles, a serial line.
struct console_device
{
    /// The name that avirt::console takes, such as "serial0". libvirt names a device when the guest starts:
    /// the alias of a guest that does not run is empty, unless its XML has one of the user's own ("ua-...").
    std::string alias{};
    /// The element of the domain's XML: "console", "serial" or "parallel". A device that is listed as a
    /// console and as a serial device is a serial device.
    std::string kind{};
    /// What the device is connected with on the host: "pty", "tcp", "file", ...
    std::string type{};
    /// What the guest sees, such as "isa-serial" or "virtio"; empty if the XML does not say it.
    std::string target{};
    /// Whether libvirt can open the device, while the guest runs: only pseudo-terminals can be opened.
    bool can_be_opened = false;
};

/// Lists a guest's consoles, serial devices and parallel devices. Blocks: it is meant for functions given to
/// basic_connection::async_call().
///
/// The first device is the one that avirt::console opens without an alias, unless it is a parallel device,
/// which needs to be named. Each device is listed once, although libvirt's XML may contain it twice.
///
/// @param vm The domain. If it is null, the function fails with libvirt's last error: that of the lookup.
///
/// @par Errors
/// @li condition::not_found: the domain is gone.
/// @li condition::connection_lost and libvirt's errors. They are thrown as avirt::exception.
///
/// @par libvirt
/// virDomainGetXMLDesc.
///
/// @code
/// auto devices = co_await conn.async_call([](virConnectPtr c) {
///     return avirt::consoles_of(avirt::domain{virDomainLookupByName(c, "vm1")});
/// });
/// @endcode
AVIRT_DECL std::vector<console_device> consoles_of(virDomainPtr vm);

/// The same for a handle.
inline std::vector<console_device> consoles_of(const domain& vm)
{
    return consoles_of(vm.get());
}

} // namespace avirt
