// SPDX-License-Identifier: BSL-1.0

// Records the consoles of a host's guests, each to a file.

#include "command_line.hpp"
#include "log_directory.hpp"
#include "recorder.hpp"
#include "say.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <csignal>
#include <exception>
#include <iostream>

namespace {

void run(const command_line& c)
{
    const log_directory directory(c.directory);
    std::signal(SIGXFSZ, SIG_IGN); // A file that is too large is one that cannot be written.

    asio::io_context io;
    avirt::event_loop loop{io};
    recorder all(io, c);
    asio::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&](avirt::error_code, int) {
        signals.clear(); // The next one ends the program.
        all.close();
    });
    asio::co_spawn(io, all.run(), [](std::exception_ptr failure) {
        if (failure)
            std::rethrow_exception(failure);
    });
    io.run(); // Returns when everything is written, and libvirt has released everything.
}

} // namespace

int main(int argc, char* argv[])
{
    command_line c;
    try {
        c = parse(argc, argv);
    }
    catch (const std::exception& e) {
        std::cerr << "console_log: " << e.what() << "; --help shows the usage.\n";
        return bad_usage;
    }
    if (c.help)
        return std::cout << help() << std::flush ? succeeded : failed;
    try {
        run(c);
        return succeeded;
    }
    catch (const std::exception& e) {
        say(e.what());
        return failed;
    }
}
