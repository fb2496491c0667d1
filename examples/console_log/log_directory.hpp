// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>

/// The directory of the files, which belongs to this program while the object exists: two programs that
/// rotate the same files would lose what they contain.
class log_directory
{
public:
    /// Throws std::runtime_error if no files can be made there, or if another program has the directory.
    explicit log_directory(const std::filesystem::path& path);
    ~log_directory();
    log_directory(const log_directory&) = delete;
    log_directory& operator=(const log_directory&) = delete;

private:
    const int fd_;
};
