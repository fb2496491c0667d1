// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <support/libvirtd.hpp>

#include <boost/test/unit_test.hpp>

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

/// The shared daemon, or another one in its place if an earlier test made it deadlock or crash: some releases
/// do not survive it if the connection of a stream is cut off (docs/libvirt.md, "What the daemon of
/// libvirt 11.3 does not survive").
inline libvirtd& answering_daemon()
{
    if (!shared_daemon().answers()) {
        BOOST_TEST_MESSAGE("libvirtd does not answer any more, and is replaced");
        shared_daemon_slot().emplace();
    }
    return shared_daemon();
}

} // namespace support
