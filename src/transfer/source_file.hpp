// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace avirt::detail {

/// A run of data or of zeros in a file, of which nothing but the length is known.
struct file_piece
{
    bool is_hole = false;
    std::uint64_t length = 0;

    bool operator==(const file_piece&) const = default;
};

/// Appends the pieces of the data: runs of zeros that are worth it are holes, the rest is data.
///
/// @param offset That of the data in the file.
void find_zeros(asio::const_buffer data, std::uint64_t offset, std::vector<file_piece>& pieces);

/// A file or block device that is read from its beginning, hole by hole. For worker threads: every function
/// may block.
class source_file
{
public:
    /// Whether to report holes: those of the file system only, or runs of zeros in the data too.
    enum class holes { none, of_file_system, zeros };

    source_file(std::filesystem::path path, holes reported);

    failure open();

    /// Reads this file, instead of opening the path.
    failure adopt(unique_fd file);

    /// The size when the file was opened. No more is read, even if the file grows.
    std::uint64_t size() const noexcept
    {
        return size_;
    }

    /// Begins at the offset with the next read, and ends at @p end.
    void seek(std::uint64_t offset, std::uint64_t end) noexcept;

    bool is_at_end() const noexcept
    {
        return position_ >= end_;
    }

    /// Reads what comes next: data up to the size of the buffer, or a hole.
    ///
    /// @param pieces Set to what the buffer contains, and the holes in it; a hole that the file system has
    /// comes alone, and then the buffer is not used.
    failure read(asio::mutable_buffer buffer, std::vector<file_piece>& pieces);

private:
    failure find_size();
    std::uint64_t find_data();
    failure check_size() const;
    failure failed_to(const std::string& what) const;

    std::filesystem::path path_;
    holes reported_;
    unique_fd file_;
    std::uint64_t size_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t data_end_ = 0; // There is data from position_ up to here.
};

} // namespace avirt::detail
