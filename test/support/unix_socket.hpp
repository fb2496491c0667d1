// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <string_view>

namespace support {

/// A socket that listens there; throws where it cannot.
int listen_on(const std::filesystem::path& path);
/// -1 where nobody listens.
int connect_to(const std::filesystem::path& path);

/// False: the other side has gone.
bool send_all(int fd, std::string_view bytes);
bool receive_all(int fd, void* data, std::size_t size);

} // namespace support
