// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <functional>

namespace support {

/// Turns a forked process of a test into the guardian of a daemon, and ends with the status that the daemon
/// returns. All that the daemon leaves behind is removed, even if the test has been killed.
///
/// @param directory The daemon's directory, which is removed at the end. If preparing fails, the directory
/// stays, and the reason is in its file "log".
/// @param prepare Called in the guardian.
/// @param run Called in the guardian's child, whose status it returns.
[[noreturn]] void run_daemon_process(
    const std::filesystem::path& directory, const std::function<void()>& prepare,
    const std::function<int()>& run);

/// Makes a file the standard output and the standard error of this process.
void log_to(const std::filesystem::path& file);

} // namespace support
