// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <fstream>

#include <unistd.h>

namespace support {

/// The resident memory of this process.
inline std::size_t resident_bytes()
{
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace support
