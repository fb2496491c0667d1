// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"

#include <avirt/avirt.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>

#include <cstdlib>
#include <iomanip>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

namespace {

/// The names of the devices that virDomainOpenConsole takes.
std::string consoles(const std::string& description)
{
    boost::property_tree::ptree tree;
    std::istringstream in(description);
    boost::property_tree::read_xml(in, tree);
    std::set<std::string> names; // A device may be listed twice, as a serial device and as a console.
    for (const auto& [kind, device] : tree.get_child("domain.devices")) {
        if (kind == "console" || kind == "serial" || kind == "parallel")
            names.insert(device.get("alias.<xmlattr>.name", "(named when it runs)"));
    }
    std::string list;
    for (const auto& name : names)
        list += (list.empty() ? "" : ", ") + name;
    return list.empty() ? "none" : list;
}

std::string_view state(virDomainPtr domain)
{
    int state = VIR_DOMAIN_NOSTATE;
    if (virDomainGetState(domain, &state, nullptr, 0) < 0)
        avirt::throw_last_error();
    return avirt::to_string(virDomainState(state));
}

} // namespace

std::string list_domains(virConnectPtr connection)
{
    virDomainPtr* found = nullptr;
    const int count = virConnectListAllDomains(connection, &found, 0);
    if (count < 0)
        avirt::throw_last_error();
    std::vector<avirt::domain> domains(found, found + count);
    std::free(found);

    std::ostringstream table;
    const auto row = [&](std::string_view domain, std::string_view state, const std::string& consoles) {
        table << std::left << std::setw(24) << domain << ' ' << std::setw(9) << state << ' ' << consoles
              << '\n';
    };
    row("DOMAIN", "STATE", "CONSOLES");
    for (const auto& domain : domains) {
        const std::unique_ptr<char, decltype(&std::free)> description(
            virDomainGetXMLDesc(domain.get(), 0), &std::free);
        if (description) // Otherwise the domain has just gone.
            row(virDomainGetName(domain.get()), state(domain.get()), consoles(description.get()));
    }
    return table.str();
}
