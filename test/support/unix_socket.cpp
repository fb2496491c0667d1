// SPDX-License-Identifier: BSL-1.0
#include "support/unix_socket.hpp"

#include <cstring>
#include <stdexcept>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace support {
namespace {

template <class Function>
int open_at(const std::filesystem::path& path, Function function)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (function(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return fd;
    ::close(fd);
    return -1;
}

} // namespace

int listen_on(const std::filesystem::path& path)
{
    const int fd = open_at(path, ::bind);
    if (fd < 0 || ::listen(fd, SOMAXCONN) != 0)
        throw std::runtime_error("cannot listen on " + path.string());
    return fd;
}

int connect_to(const std::filesystem::path& path)
{
    return open_at(path, ::connect);
}

bool send_all(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

bool receive_all(int fd, void* data, std::size_t size)
{
    // recv() waits even if it is to receive nothing.
    return size == 0 || ::recv(fd, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

} // namespace support
