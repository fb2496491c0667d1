// SPDX-License-Identifier: BSL-1.0

// socket_bridge PATH: connects standard input and output with the socket at PATH, as the program does that
// SSH runs on the other side.

#include "support/unix_socket.hpp"

#include <array>
#include <cstdlib>
#include <string_view>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

namespace {

bool copy(int from, int to)
{
    std::array<char, 64 * 1024> buffer;
    const auto n = ::read(from, buffer.data(), buffer.size());
    std::string_view rest(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!rest.empty()) {
        const auto written = ::write(to, rest.data(), rest.size());
        if (written <= 0)
            return false;
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    return n > 0;
}

} // namespace

int main(int argc, char* argv[])
{
    const int fd = argc == 2 ? support::connect_to(argv[1]) : -1;
    if (fd < 0)
        return EXIT_FAILURE;
    std::thread([fd] {
        while (copy(STDIN_FILENO, fd))
            ;
        ::shutdown(fd, SHUT_WR);
    }).detach();
    while (copy(fd, STDOUT_FILENO))
        ;
    ::_exit(EXIT_SUCCESS); // The thread may still be reading.
}
