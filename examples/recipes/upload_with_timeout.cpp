// SPDX-License-Identifier: BSL-1.0
//
// Uploads a file into a volume, and gives up after some time:
//
//     upload_with_timeout FILE POOL VOLUME SECONDS [URI]

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <boost/lexical_cast.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string>

namespace asio = boost::asio;

asio::awaitable<bool> upload(
    asio::io_context& io, std::string path, avirt::volume_locator volume, std::chrono::seconds limit,
    std::string uri)
{
    avirt::connection connection{io};
    co_await connection.async_open(uri, avirt::with_details(asio::use_awaitable));

    avirt::error_details why;
    auto [ec, moved] = co_await avirt::async_upload(
        connection, path, volume, {},
        avirt::with_details(avirt::cancel_after(limit, asio::as_tuple(asio::use_awaitable)), why));

    const auto bytes = moved.bytes + moved.hole_bytes;
    std::cout << bytes << " of " << moved.total << " bytes uploaded\n";
    if (ec == asio::error::operation_aborted)
        std::cerr << "not finished after " << limit.count() << " seconds\n";
    else if (ec)
        std::cerr << ec.message() << ": " << why.message << '\n';
    co_return !ec;
}

int main(int argc, char* argv[])
try {
    if (argc < 5 || argc > 6) {
        std::cerr << "usage: upload_with_timeout FILE POOL VOLUME SECONDS [URI]\n";
        return 2;
    }
    const avirt::volume_locator volume{argv[2], argv[3]};
    const std::chrono::seconds limit{boost::lexical_cast<unsigned>(argv[4])};
    asio::io_context io;
    avirt::event_loop loop{io};
    auto is_complete =
        asio::co_spawn(io, upload(io, argv[1], volume, limit, argc > 5 ? argv[5] : ""), asio::use_future);
    io.run();
    return is_complete.get() ? 0 : 1;
}
catch (const std::exception& e) {
    std::cerr << "upload_with_timeout: " << e.what() << '\n';
    return 1;
}
