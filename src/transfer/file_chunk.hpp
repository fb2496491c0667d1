// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/transfer_packets.hpp>

#include <boost/asio/buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace avirt::detail {

/// The number of chunks in which a file's content is read ahead, or written behind, and the size of each.
/// A chunk consists of whole packets of libvirt's.
constexpr std::size_t file_chunks = 3;
constexpr std::size_t file_chunk_size = 4 * transfer_packets::largest_packet;

/// Memory for a chunk of a file's content.
class file_memory
{
public:
    /// Allocates the memory, unless there is some: less than a whole chunk if the file is smaller.
    void allocate(std::uint64_t size_of_file)
    {
        if (memory_)
            return;
        size_ = static_cast<std::size_t>(std::min<std::uint64_t>(size_of_file, file_chunk_size));
        memory_ = std::make_unique_for_overwrite<char[]>(size_);
    }

    boost::asio::mutable_buffer buffer() const noexcept
    {
        return {memory_.get(), size_};
    }

private:
    std::unique_ptr<char[]> memory_;
    std::size_t size_ = 0;
};

} // namespace avirt::detail
