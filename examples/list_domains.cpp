// SPDX-License-Identifier: BSL-1.0
//
// Lists the domains of a host and their states.
//
//     list_domains [URI]

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <libvirt/libvirt.h>

#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

namespace asio = boost::asio;

/// Runs on a worker thread, where it may make any number of blocking calls.
std::vector<avirt::domain_status> find_domains(virConnectPtr connection)
{
    virDomainPtr* array = nullptr;
    const int count = virConnectListAllDomains(connection, &array, 0);
    if (count < 0)
        avirt::throw_last_error();
    std::vector<avirt::domain> all(array, array + count);
    std::free(array);

    std::vector<avirt::domain_status> result;
    for (auto& d : all) {
        avirt::domain_status status;
        status.name = virDomainGetName(d.get());
        virDomainGetState(d.get(), &status.state, &status.reason, 0); // Unknown if it has just gone.
        status.domain = std::move(d);
        result.push_back(std::move(status));
    }
    return result;
}

asio::awaitable<void> list(asio::io_context& io, std::string uri)
{
    avirt::connection connection{io};
    co_await connection.async_open(uri, avirt::with_details(asio::use_awaitable));
    const auto domains =
        co_await connection.async_call(find_domains, avirt::with_details(asio::use_awaitable));
    for (const auto& d : domains) {
        const auto id = virDomainGetID(d.domain.get());
        std::cout << std::setw(5) << (id == static_cast<unsigned>(-1) ? "-" : std::to_string(id)) << "  "
                  << std::left << std::setw(30) << d.name << std::right << "  "
                  << avirt::to_string(virDomainState(d.state)) << '\n';
    }
    co_await connection.async_close();
}

int main(int argc, char* argv[])
try {
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        std::cerr << "usage: list_domains [URI]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    asio::co_spawn(io, list(io, argc == 2 ? argv[1] : ""), [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    });
    io.run();
}
catch (const std::exception& e) {
    std::cerr << "list_domains: the domains of " << (argc == 2 ? argv[1] : "libvirt's default hypervisor")
              << " cannot be listed: " << e.what() << "\nIs it running, and is the URI right?\n";
    return 1;
}
