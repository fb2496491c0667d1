// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <libvirt/libvirt.h>

#include <cstdint>
#include <string>
#include <utility>

namespace avirt {

// Openers: functions `int(virConnectPtr, virStreamPtr)` that open a libvirt stream on something, for
// basic_async_stream::async_open(). They are called on a worker thread, look up their objects through the
// connection that they are given, and fail by returning a negative number or by throwing. Any other callable
// of that form can be used as well.
//
// Each opener has a constructor, because GCC 12 miscompiles a temporary aggregate that holds a std::string in
// a co_await expression.

/// Opens a guest's console: what is written goes to the guest's serial line, what is read comes from it.
///
/// @par Errors
/// @li condition::not_found: no such domain, or no such device.
/// @li condition::not_supported: the device is not a pseudo-terminal.
/// @li condition::guest_gone: the guest is not running, or is about to end.
/// @li condition::console_in_use: another session has the console.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par libvirt
/// virDomainLookupByName, virDomainLookupByUUIDString, virDomainOpenConsole; if that fails, virDomainGetState
/// and virDomainGetXMLDesc.
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

/// Opens a picture of a guest's screen, in a format that the driver chooses. It is read up to eof.
///
/// @par Errors
/// @li condition::not_found: no such domain.
/// @li condition::guest_gone: the guest is not running.
/// @li condition::wrong_state: the guest runs, but has no screen, for instance.
/// @li condition::not_supported: the driver cannot take screenshots.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par libvirt
/// virDomainLookupByName, virDomainLookupByUUIDString, virDomainScreenshot; if that fails, virDomainGetState.
///
/// @code
/// co_await stream.async_open(conn, avirt::screenshot{"vm1"});
/// @endcode
struct screenshot
{
    /// @param domain_name The domain's name or UUID.
    /// @param screen_number The number of the screen, from 0.
    explicit screenshot(std::string domain_name, unsigned screen_number = 0)
        : domain(std::move(domain_name)),
          screen(screen_number)
    {
    }

    std::string domain;
    unsigned screen;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// Opens a guest's channel: a line to an agent inside the guest.
///
/// @par Errors
/// @li condition::not_found: no such domain, or no such channel.
/// @li condition::not_supported: the channel is not a Unix socket.
/// @li condition::guest_gone: the guest is not running.
/// @li condition::console_in_use: another session has the channel.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par libvirt
/// virDomainLookupByName, virDomainLookupByUUIDString, virDomainOpenChannel; if that fails, virDomainGetState
/// and virDomainGetXMLDesc.
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

/// Identifies a volume: by its pool and its name, by its path, or by its key.
struct volume_locator
{
    /// @param pool_name The pool's name or UUID.
    /// @param volume_name The volume's name in that pool.
    volume_locator(std::string pool_name, std::string volume_name)
        : pool(std::move(pool_name)),
          name(std::move(volume_name))
    {
    }

    /// Identifies a volume by its path on the daemon's side.
    static volume_locator at_path(std::string path)
    {
        volume_locator where({}, {});
        where.path = std::move(path);
        return where;
    }

    /// Identifies a volume by its key (virStorageVolGetKey).
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

/// Opens a volume's content for reading. It is read up to eof.
///
/// @par Errors
/// @li condition::not_found: no such pool or volume.
/// @li std::errc::invalid_argument: the locator identifies no volume.
/// @li condition::connection_lost and libvirt's errors.
///
/// Errors that occur later on the daemon's side end a read, or async_finish().
///
/// @par libvirt
/// virStorageVolLookupByName, virStorageVolLookupByPath, virStorageVolLookupByKey, virStorageVolDownload.
///
/// @code
/// co_await stream.async_open(conn, avirt::volume_download{{"default", "disk.img"}});
/// @endcode
struct volume_download
{
    /// @param which The volume.
    /// @param first_byte The offset of the first byte.
    /// @param byte_count The number of bytes; 0: up to the end.
    explicit volume_download(volume_locator which, std::uint64_t first_byte = 0, std::uint64_t byte_count = 0)
        : volume(std::move(which)),
          offset(first_byte),
          length(byte_count)
    {
    }

    volume_locator volume;
    std::uint64_t offset;
    std::uint64_t length;
    /// Whether the daemon sends holes as holes (VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM) instead of zeros.
    /// They cost nothing on the way. The stream reads them as zeros unless
    /// basic_async_stream::stop_at_holes() is called.
    bool sparse = false;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

/// Opens a volume for writing.
///
/// After everything is written, async_finish() reports errors that occurred on the daemon's side; no failure
/// is certain to be reported before, and not every one then: see basic_async_stream::async_finish().
///
/// @par Errors
/// Those of volume_download. Writing more than @ref length bytes fails.
///
/// @par libvirt
/// virStorageVolLookupByName, virStorageVolLookupByPath, virStorageVolLookupByKey, virStorageVolUpload.
///
/// @code
/// co_await stream.async_open(conn, avirt::volume_upload{{"default", "disk.img"}});
/// @endcode
struct volume_upload
{
    /// @param which The volume.
    /// @param first_byte The offset of the first byte.
    /// @param byte_count The maximum number of bytes; 0: no limit.
    explicit volume_upload(volume_locator which, std::uint64_t first_byte = 0, std::uint64_t byte_count = 0)
        : volume(std::move(which)),
          offset(first_byte),
          length(byte_count)
    {
    }

    volume_locator volume;
    std::uint64_t offset;
    std::uint64_t length;
    /// Whether the daemon is told to expect holes (VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM), which
    /// basic_async_stream::async_write_hole() needs. Zeros that are written are sent as data.
    bool sparse = false;

    AVIRT_DECL int operator()(virConnectPtr connection, virStreamPtr stream) const;
};

} // namespace avirt
