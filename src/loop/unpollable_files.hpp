// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace avirt::detail {

/// The watched files that epoll refuses, such as regular files and /dev/null. They are always ready.
class unpollable_files
{
public:
    /// Makes room for one more file, so that add() needs no memory.
    void reserve_one();
    void add(int fd) noexcept;
    void remove(int fd) noexcept;

    std::size_t size() const noexcept
    {
        return files_.size();
    }

    int fd(std::size_t index) const noexcept
    {
        return files_[index].fd;
    }

    /// Whether the number still means the file that was added.
    bool is_same_file(std::size_t index) const noexcept;

    /// Whether a file was added under this number, and the number still means it.
    bool contains(int fd) const noexcept;

private:
    /// Tells a file from another one under the same number. The inode of an unlinked file is soon used again,
    /// so the time of birth belongs to it.
    struct identity
    {
        std::uint64_t inode = 0;
        std::uint32_t device_major = 0, device_minor = 0;
        std::int64_t born = 0;
        std::uint32_t born_nanoseconds = 0;

        bool operator==(const identity&) const = default;
    };

    struct file
    {
        int fd;
        identity id;
    };

    static identity identify(int fd) noexcept;

    std::vector<file> files_;
};

} // namespace avirt::detail
