// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <fstream>

#include <unistd.h>

namespace support {

constexpr std::size_t mebibyte = 1024 * 1024;

/// By how much the memory of a process may grow that keeps nothing.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t few_mebibytes = 64 * mebibyte; // ThreadSanitizer keeps shadows of memory that was used.
#else
constexpr std::size_t few_mebibytes = 16 * mebibyte;
#endif

/// The resident memory of this process.
inline std::size_t resident_bytes()
{
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace support
