// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <stdlib.h>

namespace support {

/// Makes a directory whose name begins with the prefix. Only its owner may enter it.
inline std::filesystem::path make_temporary_directory(const std::filesystem::path& prefix)
{
    auto name = prefix.string() + "XXXXXX";
    if (!::mkdtemp(name.data()))
        throw std::system_error(errno, std::generic_category(), "mkdtemp");
    return name;
}

/// A new directory, which the destructor removes with all that is in it.
struct temporary_directory
{
    const std::filesystem::path path;

    explicit temporary_directory(const std::filesystem::path& prefix) : path(make_temporary_directory(prefix))
    {
    }

    ~temporary_directory()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }

    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
};

} // namespace support
