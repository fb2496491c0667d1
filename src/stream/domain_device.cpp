// SPDX-License-Identifier: BSL-1.0
#include "stream/domain_device.hpp"

#include <avirt/error.hpp>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace avirt::detail {
namespace {

using boost::property_tree::ptree;

[[noreturn]] void throw_malformed(const std::string& why)
{
    error_details d;
    d.domain = VIR_FROM_DOMAIN;
    d.code = VIR_ERR_XML_ERROR;
    d.level = VIR_ERR_ERROR;
    d.message = "libvirt's description of a domain cannot be read: " + why;
    throw exception(error_code(d.code, libvirt_category()), std::move(d));
}

ptree parse(std::string_view xml)
{
    ptree tree;
    std::istringstream in{std::string(xml)};
    try {
        read_xml(in, tree);
    }
    catch (const boost::property_tree::xml_parser_error& e) {
        throw_malformed(e.message());
    }
    return tree;
}

device_description describe(const std::string& element, const ptree& device)
{
    const auto text = [&](const char* path) { return device.get(path, std::string()); };
    return {
        element, text("<xmlattr>.type"), text("alias.<xmlattr>.name"), text("target.<xmlattr>.type"),
        text("target.<xmlattr>.name")};
}

} // namespace

std::vector<device_description> devices_in(std::string_view xml, element_names elements)
{
    const auto tree = parse(xml);
    std::vector<device_description> result;
    const auto devices = tree.get_child_optional("domain.devices");
    if (!devices)
        return result;
    for (const auto wanted : elements) {
        for (const auto& [element, device] : *devices) {
            if (element == wanted)
                result.push_back(describe(element, device));
        }
    }
    return result;
}

device_search find_device(std::string_view xml, const device_kind& kind, const std::string& name)
{
    const auto devices = devices_in(xml, kind.elements);
    const auto found = std::ranges::find_if(devices, [&](const device_description& d) {
        return name.empty() || d.alias == name || d.target_name == name;
    });
    if (found == devices.end())
        return device_search::not_found;
    return found->type == kind.type ? device_search::found : device_search::wrong_type;
}

} // namespace avirt::detail
