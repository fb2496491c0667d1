// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

/// The name of the file to which a guest's console is recorded. No two consoles have the same.
/// @param device The alias of the console; empty: the guest's first one.
std::string file_name(const std::string& guest, const std::string& device);
