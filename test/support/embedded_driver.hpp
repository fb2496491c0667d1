// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <thread>

namespace support {

/// libvirt's embedded QEMU driver in a temporary directory, without root's rights: as root it requires a user
/// that only the system's libvirt has. There is one for the whole process, created before libvirt is used.
class embedded_driver
{
public:
    embedded_driver();
    ~embedded_driver();
    embedded_driver(const embedded_driver&) = delete;
    embedded_driver& operator=(const embedded_driver&) = delete;

    static embedded_driver& instance();

    std::string uri() const;

    const std::filesystem::path& directory() const noexcept
    {
        return directory_;
    }

private:
    std::filesystem::path directory_;
};

/// A guest on the embedded driver, booted from a boot sector. It starts paused, so that no output is lost
/// before its console is open. Its domain is persistent: libvirt 9.0 deadlocks if a transient domain goes
/// away while its console is being closed (docs/libvirt.md).
class embedded_guest
{
public:
    embedded_guest(
        virConnectPtr connection, const std::string& name, std::span<const unsigned char> boot_sector);
    ~embedded_guest();
    embedded_guest(const embedded_guest&) = delete;
    embedded_guest& operator=(const embedded_guest&) = delete;

    void resume();
    void suspend();
    /// Stops the guest immediately; the domain is still defined.
    void destroy();

private:
    std::unique_ptr<virDomain, int (*)(virDomainPtr)> domain_;
    std::filesystem::path image_;
    std::thread reaper_;
};

} // namespace support
