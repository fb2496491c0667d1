// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <cstdint>
#include <string>

namespace avirt {

// What a stream can be opened on: functions `int(virConnectPtr, virStreamPtr)` that start a stream of
// libvirt's. They are called on a worker thread, and look their objects up through the connection that they
// are given. They fail by a negative result or by throwing. Any other callable of that form will do too.
//
// In a coroutine, name the opener before the co_await expression: GCC 12 copies a temporary aggregate, or
// lambda, bytewise there, and a std::string inside does not survive that.

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

/// A guest's channel: a line to an agent inside the guest.
///
/// Errors: condition::not_found (no such domain, or no such channel), condition::guest_gone,
/// condition::console_in_use (another session has the channel), and libvirt's.
///
/// libvirt: virDomainOpenChannel.
///
/// @code
/// avirt::channel where{.domain = "vm1", .name = "org.qemu.guest_agent.0"};
/// co_await stream.async_open(conn, where, asio::use_awaitable);
/// @endcode
struct channel
{
    std::string domain{}; ///< Name or UUID.
    std::string name{};   ///< Target name, or alias; empty: the first channel.
    unsigned flags = 0;   ///< VIR_DOMAIN_CHANNEL_FORCE.

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// Which volume: by its pool and its name there, or by its path, or by its key.
struct volume_locator
{
    std::string pool{}; ///< Name or UUID.
    std::string name{};
    std::string path{};
    std::string key{};
};

/// A volume's content. Read to eof.
///
/// Errors: condition::not_found (no such pool or volume), std::errc::invalid_argument (the locator names
/// none), and libvirt's. What goes wrong later on the daemon's side ends a read, or async_finish().
///
/// libvirt: virStorageVolLookupByName, virStorageVolLookupByPath, virStorageVolLookupByKey,
/// virStorageVolDownload.
///
/// @code
/// avirt::volume_download what{.volume = {.pool = "default", .name = "disk.img"}};
/// co_await stream.async_open(conn, what, asio::use_awaitable);
/// @endcode
struct volume_download
{
    volume_locator volume{};
    std::uint64_t offset = 0; ///< In bytes.
    std::uint64_t length = 0; ///< In bytes; 0: to the end.
    bool sparse = false;      ///< Holes are sent as holes, and received as zeros.

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// A volume's new content. Write it, then async_finish(): no failure is known for certain before. (And not
/// every one then, see there: where a full disk matters, look at the volume.)
///
/// Errors: as volume_download's. Writing more than @ref length bytes fails.
///
/// libvirt: virStorageVolUpload.
struct volume_upload
{
    volume_locator volume{};
    std::uint64_t offset = 0; ///< In bytes.
    std::uint64_t length = 0; ///< In bytes; 0: no limit.
    bool sparse = false;      ///< Holes may be sent as holes.

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

} // namespace avirt
