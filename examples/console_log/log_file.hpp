// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include <sys/types.h>

/// When a log is rotated.
struct log_limits
{
    std::uint64_t max_size = 0; ///< 0: never.
    unsigned keep = 0;          ///< How many older files are kept.
};

/// A log, and the older files NAME.1, NAME.2, ... that it has become.
///
/// The file is written at once, on the thread of the event loop: the writes are small, and the kernel takes
/// them into its page cache, so that they do not wait for the disk. All functions throw std::system_error if
/// the file cannot be written. The next call then tries again; no record has been written in part.
class log_file
{
public:
    /// What becomes of a file that exists already.
    enum class existing { continued, rotated };

    /// Accesses no file yet.
    log_file(std::filesystem::path path, log_limits limits, existing what);
    ~log_file();
    log_file(const log_file&) = delete;
    log_file& operator=(const log_file&) = delete;

    const std::filesystem::path& path() const noexcept
    {
        return path_;
    }

    /// Rotates the log if a record of this size would exceed the limit. Returns whether the file is empty.
    bool make_room(std::size_t size);

    /// How many more bytes the file may have.
    std::uint64_t room() const noexcept;

    /// Whether the next byte begins a line.
    bool is_at_line_start() const noexcept
    {
        return size_ == 0 || last_ == '\n';
    }

    /// Writes a record, for which there is room, or which is larger than any file may be.
    void write(std::string_view record);

private:
    void open();
    void close() noexcept;
    void rotate();
    bool is_removed() const noexcept;
    std::filesystem::path older(unsigned number) const;
    [[noreturn]] void fail_to_write(std::size_t written);

    const std::filesystem::path path_;
    const log_limits limits_;
    const existing what_;
    int fd_ = -1;
    std::pair<dev_t, ino_t> own_{}; // the file that this object has begun, or continued
    std::uint64_t size_ = 0;
    char last_ = '\n';
};
