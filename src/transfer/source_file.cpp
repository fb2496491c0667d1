// SPDX-License-Identifier: BSL-1.0
#include "transfer/source_file.hpp"

#include "transfer/file_failure.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace avirt::detail {
namespace {

/// A file system cannot have smaller holes.
constexpr std::uint64_t block_size = 4096;
/// A packet of libvirt that tells of a hole costs about as much as one with this many bytes.
constexpr std::uint64_t shortest_hole = 65536;

bool is_zero(const char* data, std::size_t size) noexcept
{
    return size == 0 || (data[0] == 0 && std::memcmp(data, data + 1, size - 1) == 0);
}

} // namespace

void find_zeros(asio::const_buffer data, std::uint64_t offset, std::vector<file_piece>& pieces)
{
    const auto* bytes = static_cast<const char*>(data.data());
    const std::uint64_t size = data.size();
    const auto add = [&](bool is_hole, std::uint64_t length) {
        if (length > 0)
            pieces.push_back({is_hole, length});
    };
    std::uint64_t begin = 0; // of what has not been added
    std::uint64_t next = std::min(size, (block_size - offset % block_size) % block_size);
    while (size - next >= shortest_hole) {
        const std::uint64_t zeros = next;
        while (size - next >= block_size && is_zero(bytes + next, block_size))
            next += block_size;
        if (next - zeros >= shortest_hole) {
            add(false, zeros - begin);
            add(true, next - zeros);
            begin = next;
        }
        next += std::min(block_size, size - next); // the block that is not zero
    }
    add(false, size - begin);
}

source_file::source_file(std::filesystem::path path, holes reported)
    : path_(std::move(path)),
      reported_(reported)
{
}

failure source_file::failed_to(const std::string& what) const
{
    const int number = errno;
    return file_failure("cannot " + what + " '" + path_.string() + "'", number);
}

failure source_file::open()
{
    // O_NONBLOCK: a FIFO would wait for a writer.
    file_ = unique_fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file_)
        return failed_to("open");
    struct stat status
    {
    };
    if (::fstat(file_.get(), &status) < 0)
        return failed_to("open");
    if (S_ISDIR(status.st_mode))
        return file_failure("cannot read '" + path_.string() + "'", EISDIR);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return file_failure(
            "cannot read '" + path_.string() + "', which is neither a regular file nor a block device",
            EOPNOTSUPP);
    return find_size();
}

failure source_file::adopt(unique_fd file)
{
    file_ = std::move(file);
    return file_ ? find_size() : failed_to("open");
}

failure source_file::find_size()
{
    const auto size = ::lseek(file_.get(), 0, SEEK_END);
    if (size < 0)
        return failed_to("find the size of");
    end_ = size_ = static_cast<std::uint64_t>(size);
    ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    return {};
}

void source_file::seek(std::uint64_t offset, std::uint64_t end) noexcept
{
    position_ = offset;
    end_ = std::min(end, size_);
    data_end_ = 0;
}

/// Returns where the next data begins, and finds out where it ends.
std::uint64_t source_file::find_data()
{
    data_end_ = end_;
    if (reported_ == holes::none)
        return position_;
    const auto data = ::lseek(file_.get(), static_cast<off_t>(position_), SEEK_DATA);
    if (data < 0) // Not every file system knows holes, and no block device does.
        return errno == ENXIO ? end_ : position_;
    const auto hole = ::lseek(file_.get(), data, SEEK_HOLE);
    if (hole > data)
        data_end_ = std::min(end_, static_cast<std::uint64_t>(hole));
    return std::min(end_, static_cast<std::uint64_t>(data));
}

/// Fails if the file has become smaller: its end then looks like a hole.
failure source_file::check_size() const
{
    const auto size = ::lseek(file_.get(), 0, SEEK_END);
    if (size < 0)
        return failed_to("read");
    if (static_cast<std::uint64_t>(size) >= end_)
        return {};
    return file_failure(
        "cannot read '" + path_.string() + "': it has shrunk from " + std::to_string(size_) + " to "
            + std::to_string(size) + " bytes while it was read",
        EIO);
}

failure source_file::read(asio::mutable_buffer buffer, std::vector<file_piece>& pieces)
{
    pieces.clear();
    if (position_ >= data_end_) {
        const auto data = find_data();
        if (data > position_) {
            if (auto f = check_size())
                return f;
            pieces.push_back({true, data - position_});
            position_ = data;
            return {};
        }
    }
    auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), data_end_ - position_));
    // Up to the end of a block, so that none is split and not recognised as zeros.
    const auto beyond = static_cast<std::size_t>((position_ + wanted) % block_size);
    if (reported_ == holes::zeros && position_ + wanted < data_end_ && beyond < wanted)
        wanted -= beyond;
    std::size_t filled = 0;
    while (filled < wanted) {
        const auto n = ::pread(
            file_.get(), static_cast<char*>(buffer.data()) + filled, wanted - filled,
            static_cast<off_t>(position_ + filled));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed_to(
                "read " + std::to_string(wanted - filled) + " bytes at offset "
                + std::to_string(position_ + filled) + " of");
        if (n == 0) {
            if (auto f = check_size())
                return f;
            return file_failure("cannot read '" + path_.string() + "'", EIO);
        }
        filled += static_cast<std::size_t>(n);
    }
    if (reported_ == holes::zeros)
        find_zeros(asio::buffer(buffer, filled), position_, pieces);
    else
        pieces.push_back({false, filled});
    position_ += filled;
    return {};
}

} // namespace avirt::detail
