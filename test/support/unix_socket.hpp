// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <string_view>

namespace support {

/// Returns a socket that listens at the path; throws if that fails.
int listen_on(const std::filesystem::path& path);
/// Returns a socket that is connected to the path; -1 if none listens there.
int connect_to(const std::filesystem::path& path);

/// Return false if the other side is gone.
bool send_all(int fd, std::string_view bytes);
bool receive_all(int fd, void* data, std::size_t size);

} // namespace support
