// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace support {

/// Makes later mounts of this process visible only to it and its children; throws if that is not possible.
void have_own_mounts();

/// Whether have_own_mounts() would succeed.
bool can_have_own_mounts();

/// Mounts an empty directory over another.
void mount_empty(const std::filesystem::path& there);

/// Mounts an empty directory, in which everybody may write so many bytes, over another, until unmount().
void mount_small(const std::filesystem::path& there, std::uint64_t size);
void unmount(const std::filesystem::path& there) noexcept;

/// Mounts a directory or file over another.
void mount_over(const std::filesystem::path& what, const std::filesystem::path& there);

} // namespace support
