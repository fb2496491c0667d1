// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/openers.hpp>

#include <string>

namespace avirt::detail {

/// Opens the stream as the opener does. Returns the picture's MIME type. Throws on failure.
std::string take_screenshot(const screenshot& what, virConnectPtr connection, virStreamPtr stream);

} // namespace avirt::detail
