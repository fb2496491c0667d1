// SPDX-License-Identifier: BSL-1.0
#include "log_directory.hpp"

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error)
{
    throw std::runtime_error(
        "no files can be written to the directory '" + path.string()
        + "' (--directory): " + std::generic_category().message(error));
}

int open_directory(const std::filesystem::path& path)
{
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fail(path, errno);
    return fd;
}

} // namespace

log_directory::log_directory(const std::filesystem::path& path) : fd_(open_directory(path))
{
    // Not every file system can lock a directory.
    const bool is_taken = ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    const int error = ::faccessat(fd_, ".", W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
    if (!is_taken && error == 0)
        return;
    ::close(fd_);
    if (error != 0)
        fail(path, error);
    throw std::runtime_error(
        "another console_log writes to the directory '" + path.string()
        + "'; end it, or choose another directory (--directory)");
}

log_directory::~log_directory()
{
    ::close(fd_);
}
