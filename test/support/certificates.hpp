// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>

namespace support {

/// Creates the certificates of a certificate authority, of a server at 127.0.0.1 and of a client in an
/// existing directory, under the names that libvirt looks for in its `pkipath`.
void make_certificates(const std::filesystem::path& directory);

} // namespace support
