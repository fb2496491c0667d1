// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <support/libvirtd.hpp>

#include <optional>
#include <utility>

namespace support {

/// Holds the daemon that all harmless tests share: guests boot faster once libvirt has probed QEMU.
inline std::optional<libvirtd>& shared_daemon_slot()
{
    static std::optional<libvirtd> daemon{std::in_place};
    return daemon;
}

inline libvirtd& shared_daemon()
{
    return *shared_daemon_slot();
}

/// The shared daemon, or a new one in its place if an earlier test has made it deadlock, as can happen with
/// libvirt 11.3 (docs/libvirt.md, "What the daemon of libvirt 11.3 does not survive").
inline libvirtd& answering_daemon()
{
    if (libvirtd::is_11_3() && !shared_daemon().answers())
        shared_daemon_slot().emplace();
    return shared_daemon();
}

} // namespace support
