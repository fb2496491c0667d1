// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace support {

/// The number of threads of this process, but for one that belongs to ThreadSanitizer.
inline std::size_t thread_count()
{
    const auto all = std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
#ifdef __SANITIZE_THREAD__
    return static_cast<std::size_t>(all - 1);
#else
    return static_cast<std::size_t>(all);
#endif
}

} // namespace support
