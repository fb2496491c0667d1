// SPDX-License-Identifier: BSL-1.0

// Wakes a guest's serial console and prints what it says up to its login prompt:
//
//   quick_start [domain] [uri]

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string>

namespace asio = boost::asio;
using namespace std::chrono_literals;

asio::awaitable<void> greet(asio::io_context& io, std::string domain, std::string uri)
{
    avirt::connection connection{io};
    co_await connection.async_open(uri, avirt::with_details(asio::use_awaitable)); // throws libvirt's message

    // Any libvirt function, off the event loop: its result is returned, its error thrown.
    int running = co_await connection.async_call(virConnectNumOfDomains);
    std::cout << running << " domains are running\n";

    // A libvirt stream is an Asio stream: all of Asio's algorithms work on it.
    avirt::async_stream console{io};
    co_await console.async_open(connection, avirt::console{domain}, avirt::with_details(asio::use_awaitable));
    co_await asio::async_write(console, asio::buffer("\r", 1), asio::use_awaitable);

    std::string text;
    co_await asio::async_read_until(
        console, asio::dynamic_buffer(text), "login: ", avirt::cancel_after(1min, asio::use_awaitable));
    std::cout << text << std::endl;

    co_await console.async_finish();
}

int main(int argc, char* argv[])
try {
    asio::io_context io;
    avirt::event_loop loop{io}; // from here on libvirt runs on io

    asio::co_spawn(
        io, greet(io, argc > 1 ? argv[1] : "vm1", argc > 2 ? argv[2] : "qemu:///system"),
        [](std::exception_ptr failure) {
            if (failure)
                std::rethrow_exception(failure);
        });
    io.run(); // returns when libvirt has nothing left to do
}
catch (const std::exception& e) {
    std::cerr << "The console cannot be read: " << e.what() << "\nusage: quick_start [domain] [uri]\n";
    return 1;
}
