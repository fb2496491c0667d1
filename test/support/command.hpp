// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace support {

/// Runs a program and waits for its end; throws what it said where it fails.
void run_command(std::vector<std::string> arguments, std::string_view input = {});

} // namespace support
