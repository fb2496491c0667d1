// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_device.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace avirt::detail {

/// A device as a domain's XML describes it. What the XML does not say is empty.
struct device_description
{
    std::string element{};
    std::string type{};
    std::string alias{};
    std::string target_type{};
    std::string target_name{};
};

using element_names = std::span<const std::string_view>;

/// Returns the devices of a domain that have one of the elements: all of the first element, then all of the
/// second, and so on. Throws avirt::exception if the XML is malformed.
std::vector<device_description> devices_in(std::string_view xml, element_names elements);

/// A kind of device that a stream can be opened on.
struct device_kind
{
    element_names elements; // in the order in which libvirt searches them
    std::string_view type;  // the only type that can be opened
};

inline constexpr std::string_view console_elements[] = {"console", "serial", "parallel"};
inline constexpr std::string_view channel_elements[] = {"channel"};
inline constexpr device_kind console_kind{console_elements, "pty"};
inline constexpr device_kind channel_kind{channel_elements, "unix"};

enum class device_search {
    not_found,  ///< The domain has no such device.
    wrong_type, ///< The device cannot be opened, because it has another type.
    found,      ///< The device can be opened.
};

/// Looks for a device in a domain's XML.
/// @param name The alias or the target name of the device; empty: the first device.
device_search find_device(std::string_view xml, const device_kind& kind, const std::string& name);

/// Does what consoles_of() does, for a domain's XML.
std::vector<console_device> consoles_in(std::string_view xml);

} // namespace avirt::detail
