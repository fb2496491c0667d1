// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>

namespace support {

/// What this process mounts from now on is seen by it and its children alone; throws where that cannot be
/// had.
void have_own_mounts();

/// Whether have_own_mounts() would succeed.
bool can_have_own_mounts();

/// An empty directory in the place of another.
void mount_empty(const std::filesystem::path& there);

/// One directory, or file, in the place of another.
void mount_over(const std::filesystem::path& what, const std::filesystem::path& there);

} // namespace support
