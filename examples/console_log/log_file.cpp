// SPDX-License-Identifier: BSL-1.0
#include "log_file.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(int error, const std::string& what)
{
    throw std::system_error(error, std::generic_category(), what);
}

} // namespace

log_file::log_file(std::filesystem::path path, log_limits limits, existing what)
    : path_(std::move(path)),
      limits_(limits),
      what_(what)
{
}

log_file::~log_file()
{
    close();
}

bool log_file::make_room(std::size_t size)
{
    if (fd_ >= 0 && is_removed())
        close();
    if (fd_ < 0)
        open();
    if (size_ != 0 && size > room())
        rotate();
    return size_ == 0;
}

std::uint64_t log_file::room() const noexcept
{
    if (limits_.max_size == 0)
        return std::numeric_limits<std::uint64_t>::max();
    return limits_.max_size - std::min(size_, limits_.max_size);
}

void log_file::write(std::string_view record)
{
    for (std::size_t written = 0; written < record.size();) {
        const auto n = ::write(fd_, record.data() + written, record.size() - written);
        if (n >= 0)
            written += static_cast<std::size_t>(n);
        else if (errno != EINTR)
            fail_to_write(written);
    }
    size_ += record.size();
    last_ = record.empty() ? last_ : record.back();
}

/// Takes back what has been written of a record. The file is opened again for the next record: the disk may
/// have been replaced.
void log_file::fail_to_write(std::size_t written)
{
    const int error = errno;
    struct stat status
    {
    };
    // What cannot be taken back remains.
    if (written != 0 && ::fstat(fd_, &status) == 0)
        static_cast<void>(!::ftruncate(fd_, status.st_size - static_cast<off_t>(written)));
    close();
    fail(error, "cannot be written");
}

void log_file::open()
{
    fd_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct stat status
    {
    };
    if (fd_ < 0 || ::fstat(fd_, &status) != 0)
        fail(errno, "cannot be opened");
    size_ = static_cast<std::uint64_t>(status.st_size);
    if (size_ == 0 || ::pread(fd_, &last_, 1, status.st_size - 1) != 1)
        last_ = '\n';
    const std::pair present(status.st_dev, status.st_ino);
    if (size_ != 0 && what_ == existing::rotated && present != own_)
        return rotate();
    own_ = present;
}

void log_file::close() noexcept
{
    if (fd_ >= 0)
        ::close(std::exchange(fd_, -1));
}

void log_file::rotate()
{
    close();
    if (limits_.keep == 0 && ::unlink(path_.c_str()) != 0 && errno != ENOENT)
        fail(errno, "cannot be replaced");
    for (auto number = limits_.keep; number > 0; --number) {
        const auto to = older(number);
        if (::rename(older(number - 1).c_str(), to.c_str()) != 0 && errno != ENOENT)
            fail(errno, "cannot become '" + to.string() + "'");
    }
    open();
}

/// Returns whether the file has been deleted. Output that is written to a deleted file is lost.
bool log_file::is_removed() const noexcept
{
    struct stat status
    {
    };
    return ::fstat(fd_, &status) == 0 && status.st_nlink == 0;
}

std::filesystem::path log_file::older(unsigned number) const
{
    return number == 0 ? path_ : std::filesystem::path(path_.string() + "." + std::to_string(number));
}
