// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace avirt::detail {

/// A kind of device that a stream can be opened on.
struct device_kind
{
    std::span<const std::string_view> elements; // of a domain's XML, in the order in which they are searched
    std::string_view type;                      // the only type that can be opened
};

inline constexpr std::string_view console_elements[] = {"console", "serial", "parallel"};
inline constexpr std::string_view channel_elements[] = {"channel"};
inline constexpr device_kind console_device{console_elements, "pty"};
inline constexpr device_kind channel_device{channel_elements, "unix"};

enum class device_search {
    not_found,  ///< The domain has no such device.
    wrong_type, ///< The device cannot be opened, because it has another type.
    found,      ///< The device can be opened.
};

/// Looks for a device in a domain's XML.
/// @param name The alias or the target name of the device; empty: the first device.
device_search find_device(std::string_view xml, const device_kind& kind, const std::string& name);

} // namespace avirt::detail
