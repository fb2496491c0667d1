// SPDX-License-Identifier: BSL-1.0
//
// Writes a picture of a guest's screen to a file.
//
//     screenshot URI DOMAIN [FILE]
//
// If no file is named, its name is the domain's, with the extension that belongs to the format of the
// picture, which the hypervisor chooses.

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace asio = boost::asio;

std::string_view extension_of(std::string_view mime_type)
{
    constexpr std::pair<std::string_view, std::string_view> known[] = {
        {"image/png", ".png"}, {"image/x-portable-pixmap", ".ppm"}, {"image/jpeg", ".jpg"}};
    for (const auto& [type, extension] : known) {
        if (mime_type == type)
            return extension;
    }
    return ".img";
}

void write(const std::string& name, const avirt::picture& picture)
{
    std::ofstream file(name, std::ios::binary);
    file.write(
        reinterpret_cast<const char*>(picture.bytes.data()),
        static_cast<std::streamsize>(picture.bytes.size()));
    file.close();
    if (!file)
        throw std::system_error(errno, std::generic_category(), "'" + name + "' cannot be written");
}

asio::awaitable<void> take(asio::io_context& io, std::string uri, std::string domain, std::string file)
{
    avirt::connection connection{io};
    co_await connection.async_open(uri, avirt::with_details(asio::use_awaitable));
    const auto picture = co_await avirt::async_screenshot(
        connection, avirt::screenshot{domain}, avirt::with_details(asio::use_awaitable));
    if (file.empty()) {
        file = domain + std::string(extension_of(picture.mime_type));
        std::replace(file.begin(), file.end(), '/', '_');
    }
    write(file, picture);
    std::cout << file << ": " << picture.bytes.size() << " bytes of " << picture.mime_type << '\n';
    co_await connection.async_close();
}

int main(int argc, char* argv[])
try {
    if (argc < 3 || argc > 4 || argv[1][0] == '-') {
        std::cerr << "usage: screenshot URI DOMAIN [FILE]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    asio::co_spawn(io, take(io, argv[1], argv[2], argc == 4 ? argv[3] : ""), [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    });
    io.run();
}
catch (const std::exception& e) {
    std::cerr << "screenshot: no picture of " << argv[2] << ": " << e.what() << '\n';
    return 1;
}
