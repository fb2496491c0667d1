// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <iostream>
#include <string>

/// Tells the user something.
inline void say(const std::string& sentence)
{
    std::cerr << "console_log: " + sentence + '\n' << std::flush;
    std::cerr.clear(); // The next line may find the disk, or the reader, there again.
}
