// SPDX-License-Identifier: BSL-1.0
#include "transfer/partial_file.hpp"

#include "transfer/file_failure.hpp"

#include <algorithm>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace avirt::detail {
namespace {

constexpr unsigned permission_bits = 07777;

} // namespace

partial_file::partial_file(std::filesystem::path target, bool resumes)
    : target_(std::move(target)),
      resumes_(resumes)
{
}

partial_file::~partial_file()
{
    if (!file_)
        return;
    if (!is_complete_ && resumes_ && end_ > 0)
        flush(); // The hole at the end, if there is one.
    else if (!is_complete_)
        ::unlinkat(directory_.get(), part_.c_str(), 0);
    ::flock(file_.get(), LOCK_UN); // A duplicate that is still open shares the lock.
}

failure partial_file::failed_to(const char* what, int number) const
{
    return file_failure(std::string("cannot ") + what + " '" + target_.string() + "'", number);
}

failure partial_file::open()
{
    std::error_code ec;
    // The file takes the place of the one that a symbolic link leads to, not that of the link.
    if (std::filesystem::is_symlink(target_, ec)) {
        auto resolved = std::filesystem::weakly_canonical(target_, ec);
        if (!ec)
            target_ = std::move(resolved);
    }
    name_ = target_.filename().string();
    part_ = "." + name_ + ".part";
    if (name_.empty() || name_ == "." || name_ == "..")
        return failed_to("write", EISDIR);
    if (auto f = open_directory())
        return f;
    if (auto f = check_target())
        return f;
    for (bool is_current = false; !is_current;) {
        if (auto f = open_locked(is_current))
            return f;
    }
    if (mode_ != 0) // The owner has to be able to write, or nothing could resume.
        ::fchmod(file_.get(), mode_ | S_IRUSR | S_IWUSR);
    if (!resumes_)
        return restart();
    struct stat status
    {
    };
    if (::fstat(file_.get(), &status) < 0)
        return failed_to("resume");
    found_ = end_ = static_cast<std::uint64_t>(status.st_size);
    return {};
}

failure partial_file::open_directory()
{
    const auto directory = target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
    directory_ = unique_fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_)
        return file_failure(
            "cannot write '" + target_.string() + "': cannot open the directory '" + directory.string()
            + "'");
    return {};
}

/// Only a regular file is replaced: neither a directory nor a device can be.
failure partial_file::check_target()
{
    struct stat status
    {
    };
    if (::fstatat(directory_.get(), name_.c_str(), &status, 0) < 0)
        return errno == ENOENT ? failure() : failed_to("write");
    if (S_ISDIR(status.st_mode))
        return failed_to("write", EISDIR);
    if (!S_ISREG(status.st_mode)) {
        auto f = failed_to("replace", EOPNOTSUPP);
        f.details.message += " (it is not a regular file)";
        return f;
    }
    mode_ = status.st_mode & permission_bits;
    return {};
}

/// @param is_current Whether the file that was locked still has the name: another transfer may have completed
/// or removed it in between.
failure partial_file::open_locked(bool& is_current)
{
    constexpr int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    file_ = {};
    unique_fd file(::openat(directory_.get(), part_.c_str(), flags, 0666));
    if (!file)
        return file_failure(
            "cannot write '" + target_.string() + "': cannot create '" + part_ + "' beside it");
    // Not every file system has locks.
    if (::flock(file.get(), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return file_failure(
            "cannot write '" + target_.string() + "': another transfer has locked '" + part_ + "' beside it",
            EBUSY);
    struct stat locked
    {
    };
    struct stat named
    {
    };
    is_current = ::fstat(file.get(), &locked) == 0
        && ::fstatat(directory_.get(), part_.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0
        && locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
    if (is_current)
        file_ = std::move(file);
    return {};
}

failure partial_file::write(asio::const_buffer data)
{
    while (data.size() > 0) {
        const auto n = ::pwrite(file_.get(), data.data(), data.size(), static_cast<off_t>(end_));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int number = errno;
            return file_failure(
                "cannot write " + std::to_string(data.size()) + " bytes at offset " + std::to_string(end_)
                    + " of '" + target_.string() + "'",
                number);
        }
        data += static_cast<std::size_t>(n);
        end_ += static_cast<std::uint64_t>(n);
    }
    return {};
}

failure partial_file::restart()
{
    found_ = end_ = 0;
    if (::ftruncate(file_.get(), 0) < 0)
        return failed_to("write");
    return {};
}

failure partial_file::flush()
{
    if (::ftruncate(file_.get(), static_cast<off_t>(end_)) < 0)
        return failed_to("write");
    return {};
}

unique_fd partial_file::duplicate() const noexcept
{
    return unique_fd(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
}

failure partial_file::sync()
{
    if (auto f = flush())
        return f;
    if (mode_ != 0)
        ::fchmod(file_.get(), mode_);
    return ::fsync(file_.get()) < 0 ? failed_to("write") : failure();
}

failure partial_file::rename()
{
    if (::renameat(directory_.get(), part_.c_str(), directory_.get(), name_.c_str()) < 0) {
        const int number = errno;
        return file_failure("cannot rename '" + part_ + "' to '" + target_.string() + "'", number);
    }
    is_complete_ = true;
    // Not every file system can flush a directory.
    if (::fsync(directory_.get()) < 0 && errno != EINVAL)
        return failed_to("write");
    return {};
}

} // namespace avirt::detail
