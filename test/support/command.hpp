// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace support {

/// Runs a program and waits until it ends. If it fails, throws an exception with its output.
void run_command(std::vector<std::string> arguments, std::string_view input = {});

} // namespace support
