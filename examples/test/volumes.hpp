// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>
#include <support/libvirtd.hpp>

#include <libvirt/libvirt.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/stat.h>

inline void write(const std::filesystem::path& path, const std::string& text)
{
    std::ofstream(path, std::ios::binary) << text;
}

/// Overwrites a part of a file.
inline void write_at(const std::filesystem::path& path, std::uint64_t offset, const std::string& text)
{
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset)) << text;
}

/// How much of the disk a file occupies.
inline std::uint64_t allocated(const std::filesystem::path& path)
{
    struct stat status
    {
    };
    return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

/// The volumes of a daemon's pool "pool".
class volumes
{
public:
    explicit volumes(const support::libvirtd& daemon)
        : daemon_(daemon),
          connection_(virConnectOpen(daemon.uri().c_str())),
          pool_(connection_ ? virStoragePoolCreateXML(connection_, daemon.pool_xml().c_str(), 0) : nullptr)
    {
        if (!pool_)
            avirt::throw_last_error();
    }

    ~volumes()
    {
        virStoragePoolFree(pool_);
        virConnectClose(connection_);
    }

    volumes(const volumes&) = delete;
    volumes& operator=(const volumes&) = delete;

    std::filesystem::path path(const std::string& name) const
    {
        return daemon_.directory() / "volumes" / name;
    }

    std::filesystem::path make(const std::string& name, const std::string& text)
    {
        const auto path = daemon_.make_volume(name, 0);
        write(path, text);
        refresh();
        return path;
    }

    /// Makes a volume that contains no data.
    std::filesystem::path make_fresh(const std::string& name, std::uint64_t size)
    {
        const auto path = daemon_.make_volume(name, 0);
        std::filesystem::resize_file(path, size);
        refresh();
        return path;
    }

    /// Makes the daemon look at its volumes.
    void refresh()
    {
        if (virStoragePoolRefresh(pool_, 0) < 0)
            avirt::throw_last_error();
    }

private:
    const support::libvirtd& daemon_;
    const virConnectPtr connection_;
    const virStoragePoolPtr pool_;
};
