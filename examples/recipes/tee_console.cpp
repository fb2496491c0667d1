// SPDX-License-Identifier: BSL-1.0
//
// Copies what a guest prints on its console to standard output and to a file, until the guest is switched off
// or the program is interrupted:
//
//     tee_console DOMAIN FILE [URI]

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <csignal>
#include <exception>
#include <fstream>
#include <iostream>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;

const auto throwing = avirt::with_details(asio::use_awaitable); // The exception contains libvirt's message.

asio::awaitable<void> tee(asio::io_context& io, std::string domain, std::string path, std::string uri)
{
    std::ofstream file{path, std::ios::binary};
    const auto write_to_both = [&file](asio::const_buffer bytes) {
        const std::string_view text(static_cast<const char*>(bytes.data()), bytes.size());
        for (std::ostream* sink : {&std::cout, static_cast<std::ostream*>(&file)}) {
            if (!(*sink << text << std::flush))
                throw std::runtime_error("the output cannot be written");
        }
    };

    avirt::connection connection{io};
    co_await connection.async_open(uri, throwing);
    avirt::async_stream console{io};
    co_await console.async_open(connection, avirt::console{domain}, throwing);
    std::cerr << "attached to " << domain << "; Ctrl-C ends\n";

    // The first of the two to complete cancels the other. An exception would not count as completion.
    avirt::error_details why;
    asio::signal_set signals{io, SIGINT, SIGTERM};
    const auto ended = co_await (
        avirt::async_receive_all(
            console, write_to_both, {}, avirt::with_details(asio::as_tuple(asio::use_awaitable), why))
        || signals.async_wait(asio::use_awaitable));
    if (const auto* received = std::get_if<0>(&ended)) {
        if (const auto ec = std::get<0>(*received))
            throw boost::system::system_error(ec, why.message);
    }
    console.close();
}

int main(int argc, char* argv[])
try {
    if (argc < 3 || argc > 4) {
        std::cerr << "usage: tee_console DOMAIN FILE [URI]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    auto result = asio::co_spawn(io, tee(io, argv[1], argv[2], argc > 3 ? argv[3] : ""), asio::use_future);
    io.run();
    result.get();
}
catch (const std::exception& e) {
    std::cerr << "tee_console: " << e.what() << '\n';
    return 1;
}
