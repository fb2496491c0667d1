// SPDX-License-Identifier: BSL-1.0
#include <avirt/console_device.hpp>

#include "stream/domain_device.hpp"

#include <avirt/error.hpp>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <utility>

namespace avirt {
namespace detail {
namespace {

/// Whether both describe one device. libvirt repeats the first serial device as the first console, for the
/// sake of programs that only look for consoles.
bool is_same(const device_description& console, const device_description& serial)
{
    return console.element == "console" && console.target_type == "serial" && serial.element == "serial"
        && console.alias == serial.alias;
}

console_device as_console(const device_description& d)
{
    console_device result;
    result.alias = d.alias;
    result.kind = d.element;
    result.type = d.type;
    result.target = d.target_type;
    result.can_be_opened = d.type == console_kind.type;
    return result;
}

} // namespace

std::vector<console_device> consoles_in(std::string_view xml)
{
    std::vector<device_description> devices;
    for (auto& d : devices_in(xml, console_kind.elements)) {
        const auto twin = std::ranges::find_if(devices, [&](const auto& other) { return is_same(other, d); });
        if (twin == devices.end())
            devices.push_back(std::move(d));
        else // It keeps the console's place: libvirt opens the first console if no alias is given.
            *twin = std::move(d);
    }
    std::vector<console_device> result;
    std::ranges::transform(devices, std::back_inserter(result), as_console);
    return result;
}

} // namespace detail

std::vector<console_device> consoles_of(virDomainPtr vm)
{
    if (!vm) // To ask libvirt would replace the error of the lookup.
        throw_last_error();
    const std::unique_ptr<char, decltype(&std::free)> xml(virDomainGetXMLDesc(vm, 0), &std::free);
    if (!xml)
        throw_last_error();
    return detail::consoles_in(xml.get());
}

} // namespace avirt
