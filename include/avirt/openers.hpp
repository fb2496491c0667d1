// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <cstdint>
#include <string>
#include <utility>

namespace avirt {

// What a stream can be opened on: functions `int(virConnectPtr, virStreamPtr)` that start a libvirt stream.
// They are called on a worker thread, and look up their objects through the connection that they are given.
// They fail by returning a negative number or by throwing. Any other callable of that form will do too.
//
// Each has a constructor: a temporary of one may stand in a co_await expression, which GCC 12 does not
// compile correctly for an aggregate that holds a std::string.

/// A guest's console: what is written goes to the guest's serial line, what is read comes from it.
///
/// Errors: condition::not_found (no such domain, or no such device), condition::not_supported (the device is
/// no pseudo-terminal), condition::guest_gone (it is not running, or about to end),
/// condition::console_in_use, condition::connection_lost, and libvirt's.
///
/// libvirt: virDomainLookupByName, virDomainLookupByUUIDString, virDomainOpenConsole; where that fails,
/// virDomainGetState and virDomainGetXMLDesc.
///
/// @code
/// co_await stream.async_open(conn, avirt::console{"vm1"});
/// @endcode
struct console
{
    /// @param domain_name The domain's name or UUID.
    /// @param device_alias The device's alias, such as "serial0"; empty: the first console.
    /// @param open_flags VIR_DOMAIN_CONSOLE_FORCE, VIR_DOMAIN_CONSOLE_SAFE.
    explicit console(std::string domain_name, std::string device_alias = {}, unsigned open_flags = 0)
        : domain(std::move(domain_name)),
          device(std::move(device_alias)),
          flags(open_flags)
    {
    }

    std::string domain;
    std::string device;
    unsigned flags;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// A picture of a guest's screen, in the format that the driver chooses. Read to eof.
///
/// Errors: condition::not_found, condition::guest_gone, condition::wrong_state (it runs, but has no screen,
/// for instance), condition::not_supported, condition::connection_lost, and libvirt's.
///
/// libvirt: virDomainScreenshot; where that fails, virDomainGetState.
///
/// @code
/// co_await stream.async_open(conn, avirt::screenshot{"vm1"});
/// @endcode
struct screenshot
{
    /// @param domain_name The domain's name or UUID.
    /// @param screen_number Which of its screens, from 0.
    explicit screenshot(std::string domain_name, unsigned screen_number = 0)
        : domain(std::move(domain_name)),
          screen(screen_number)
    {
    }

    std::string domain;
    unsigned screen;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// A guest's channel: a line to an agent inside the guest.
///
/// Errors: condition::not_found (no such domain, or no such channel), condition::not_supported (the channel
/// is no Unix socket), condition::guest_gone, condition::console_in_use (another session has the channel),
/// condition::connection_lost, and libvirt's.
///
/// libvirt: virDomainOpenChannel; where that fails, virDomainGetState and virDomainGetXMLDesc.
///
/// @code
/// co_await stream.async_open(conn, avirt::channel{"vm1", "org.qemu.guest_agent.0"});
/// @endcode
struct channel
{
    /// @param domain_name The domain's name or UUID.
    /// @param channel_name The channel's target name or alias; empty: the first channel.
    /// @param open_flags VIR_DOMAIN_CHANNEL_FORCE.
    explicit channel(std::string domain_name, std::string channel_name = {}, unsigned open_flags = 0)
        : domain(std::move(domain_name)),
          name(std::move(channel_name)),
          flags(open_flags)
    {
    }

    std::string domain;
    std::string name;
    unsigned flags;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// Which volume: by its pool and its name there, or by its path, or by its key.
struct volume_locator
{
    /// @param pool_name The pool's name or UUID.
    /// @param volume_name The volume's name in that pool.
    volume_locator(std::string pool_name, std::string volume_name)
        : pool(std::move(pool_name)),
          name(std::move(volume_name))
    {
    }

    /// The volume at that path on the daemon's side.
    static volume_locator at_path(std::string path)
    {
        volume_locator where({}, {});
        where.path = std::move(path);
        return where;
    }

    /// The volume that has that key (virStorageVolGetKey).
    static volume_locator with_key(std::string key)
    {
        volume_locator where({}, {});
        where.key = std::move(key);
        return where;
    }

    std::string pool;
    std::string name;
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
/// co_await stream.async_open(conn, avirt::volume_download{{"default", "disk.img"}});
/// @endcode
struct volume_download
{
    /// @param which The volume.
    /// @param first_byte Where to begin, in bytes.
    /// @param byte_count How much, in bytes; 0: to the end.
    explicit volume_download(volume_locator which, std::uint64_t first_byte = 0, std::uint64_t byte_count = 0)
        : volume(std::move(which)),
          offset(first_byte),
          length(byte_count)
    {
    }

    volume_locator volume;
    std::uint64_t offset;
    std::uint64_t length;
    /// Holes come as holes (VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM), which saves sending them. They are read
    /// as zeros: there is no operation yet that reads one as a hole.
    bool sparse = false;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// A volume's new content. Write it, then async_finish(): no failure is known for certain before. (And not
/// every one then, see there: if a full disk matters, look at the volume.)
///
/// Errors: as volume_download's. Writing more than @ref length bytes fails.
///
/// libvirt: virStorageVolUpload.
///
/// @code
/// co_await stream.async_open(conn, avirt::volume_upload{{"default", "disk.img"}});
/// @endcode
struct volume_upload
{
    /// @param which The volume.
    /// @param first_byte Where to begin, in bytes.
    /// @param byte_count How much at most, in bytes; 0: no limit.
    explicit volume_upload(volume_locator which, std::uint64_t first_byte = 0, std::uint64_t byte_count = 0)
        : volume(std::move(which)),
          offset(first_byte),
          length(byte_count)
    {
    }

    volume_locator volume;
    std::uint64_t offset;
    std::uint64_t length;
    /// libvirt is told that holes may come (VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM). There is no operation yet
    /// that sends one: what is written is sent as data, zeros too.
    bool sparse = false;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

} // namespace avirt
