// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>

#include <cerrno>
#include <string>

namespace avirt::detail {

/// The failure of a system call on a file. Its message says what was being done and names the file.
///
/// @param what Such as "cannot open '/images/disk.img'".
failure file_failure(std::string what, int number = errno);

} // namespace avirt::detail
