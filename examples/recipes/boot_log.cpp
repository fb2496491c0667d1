// SPDX-License-Identifier: BSL-1.0
//
// Starts a guest, and saves what it prints on its console until it is switched off:
//
//     boot_log DOMAIN FILE [URI]

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <libvirt/libvirt.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace asio = boost::asio;

const auto throwing = avirt::with_details(asio::use_awaitable); // The exception contains libvirt's message.

asio::awaitable<void> save_boot_log(
    asio::io_context& io, std::string domain, std::string path, std::string uri)
{
    std::ofstream file{path, std::ios::binary};
    const auto save = [&file, &path](asio::const_buffer bytes) {
        file << std::string_view(static_cast<const char*>(bytes.data()), bytes.size()) << std::flush;
        if (!file)
            throw std::runtime_error("cannot write " + path);
    };
    save({}); // Before the guest is started.

    avirt::connection connection{io};
    co_await connection.async_open(uri, throwing);
    const avirt::domain guest =
        co_await connection.async_call(avirt::calling(virDomainLookupByName, domain), throwing);

    // QEMU drops what a guest prints while its console is not open. So the guest waits until it is.
    co_await connection.async_call(
        avirt::calling(virDomainCreateWithFlags, guest.ref(), VIR_DOMAIN_START_PAUSED), throwing);
    avirt::async_stream console{io};
    co_await console.async_open(connection, avirt::console{domain}, throwing);
    co_await connection.async_call(avirt::calling(virDomainResume, guest.ref()), throwing);

    const auto received = co_await avirt::async_receive_all(console, save, {}, throwing);
    console.close();
    std::cout << domain << " printed " << received.bytes << " bytes\n";
}

int main(int argc, char* argv[])
try {
    if (argc < 3 || argc > 4) {
        std::cerr << "usage: boot_log DOMAIN FILE [URI]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    auto result =
        asio::co_spawn(io, save_boot_log(io, argv[1], argv[2], argc > 3 ? argv[3] : ""), asio::use_future);
    io.run();
    result.get();
}
catch (const std::exception& e) {
    std::cerr << "boot_log: " << e.what() << '\n';
    return 1;
}
