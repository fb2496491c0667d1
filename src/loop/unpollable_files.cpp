// SPDX-License-Identifier: BSL-1.0
#include "loop/unpollable_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace avirt::detail {

void unpollable_files::reserve_one()
{
    if (files_.size() == files_.capacity())
        files_.reserve(2 * files_.size() + 4);
}

void unpollable_files::add(int fd) noexcept
{
    files_.push_back({fd, identify(fd)});
}

void unpollable_files::remove(int fd) noexcept
{
    std::erase_if(files_, [fd](const file& f) { return f.fd == fd; });
}

bool unpollable_files::is_same_file(std::size_t index) const noexcept
{
    const auto& f = files_[index];
    return f.id == identify(f.fd);
}

bool unpollable_files::contains(int fd) const noexcept
{
    return std::ranges::any_of(files_, [fd](const file& f) { return f.fd == fd && f.id == identify(fd); });
}

unpollable_files::identity unpollable_files::identify(int fd) noexcept
{
    struct statx status;
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0)
        return {}; // Equals the identity of no file.
    return {
        status.stx_ino, status.stx_dev_major, status.stx_dev_minor, status.stx_btime.tv_sec,
        status.stx_btime.tv_nsec};
}

} // namespace avirt::detail
