// SPDX-License-Identifier: BSL-1.0
#include "support/daemon_process.hpp"

#include "../../examples/console_relay/guardian.hpp"

#include <csignal>
#include <exception>
#include <fstream>
#include <system_error>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace support {

void run_daemon_process(
    const std::filesystem::path& directory, const std::function<void()>& prepare,
    const std::function<int()>& run)
{
    try {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        prepare();
        const int status = run_guarded([&]() -> int {
            // No destructors: this process must not end the test's objects, such as another daemon.
            ::_exit(run());
        });
        std::error_code ignored;
        std::filesystem::remove_all(directory, ignored); // Done here, because the test may have been killed.
        ::_exit(status);
    }
    catch (const std::exception& e) {
        std::ofstream(directory / "log") << e.what() << '\n';
        ::_exit(126);
    }
}

void log_to(const std::filesystem::path& file)
{
    const int log = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
}

} // namespace support
