// SPDX-License-Identifier: BSL-1.0
#include "stream/domain_device.hpp"

namespace avirt::detail {
namespace {

/// Quotes text in the way in which libvirt writes an attribute of its XML.
std::string quoted(std::string_view text)
{
    std::string result = "'";
    for (const char c : text) {
        switch (c) {
        case '&':
            result += "&amp;";
            break;
        case '<':
            result += "&lt;";
            break;
        case '>':
            result += "&gt;";
            break;
        case '"':
            result += "&quot;";
            break;
        case '\'':
            result += "&apos;";
            break;
        default:
            result += c;
        }
    }
    return result + "'";
}

/// The attributes and the content of the device; empty if there is none.
std::string_view device_text(std::string_view xml, const device_kind& kind, const std::string& name)
{
    const auto named = " name=" + quoted(name);
    for (const auto element : kind.elements) {
        const auto begin = std::string("<").append(element).append(" ");
        const auto end = std::string("</").append(element).append(">");
        for (auto at = xml.find(begin); at != xml.npos; at = xml.find(begin, at + 1)) {
            const auto device = xml.substr(at + begin.size(), xml.find(end, at) - at - begin.size());
            if (name.empty() || device.find(named) != device.npos)
                return device;
        }
    }
    return {};
}

} // namespace

device_search find_device(std::string_view xml, const device_kind& kind, const std::string& name)
{
    const auto device = device_text(xml, kind, name);
    if (device.empty())
        return device_search::not_found;
    return device.starts_with("type=" + quoted(kind.type)) ? device_search::found : device_search::wrong_type;
}

} // namespace avirt::detail
