// SPDX-License-Identifier: BSL-1.0
#include "support/loopback.hpp"

#include <cstdint>
#include <random>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {
namespace {

template <class Function>
bool with_socket(int port, Function function)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = ::htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = function(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return ok;
}

} // namespace

int free_port()
{
    std::random_device random;
    for (;;) {
        const int port = std::uniform_int_distribution(20'000, 29'999)(random);
        if (with_socket(port, ::bind))
            return port;
    }
}

bool is_listened_on(int port)
{
    return with_socket(port, ::connect);
}

} // namespace support
