// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"

#include <avirt/avirt.hpp>

#include <cstdlib>
#include <iomanip>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

namespace {

/// The names of the devices that virDomainOpenConsole takes.
std::string consoles(const avirt::domain& domain)
{
    std::set<std::string> names;
    for (const auto& device : avirt::consoles_of(domain))
        names.insert(device.alias.empty() ? "(named when it runs)" : device.alias);
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
        try {
            row(virDomainGetName(domain.get()), state(domain.get()), consoles(domain));
        }
        catch (const avirt::exception& e) {
            if (e.code() != avirt::condition::not_found) // Otherwise the domain has just gone.
                throw;
        }
    }
    return table.str();
}
