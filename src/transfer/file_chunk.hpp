// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/transfer_packets.hpp>

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <memory>

namespace avirt::detail {

/// The number of chunks in which a file's content is read ahead, or written behind.
constexpr std::size_t file_chunks = 3;

// Together the chunks are small enough to stay in the processor's cache on their way between two threads.

/// A file is read in libvirt's packets.
constexpr std::size_t read_chunk_size = transfer_packets::largest_packet;
/// A file is written in the pieces in which the daemon reads the volume. It sends each of them as a packet of
/// the largest size and another one of a few bytes: no packet belongs to two chunks.
constexpr std::size_t write_chunk_size = 256 * 1024;

/// Memory for a chunk of a file's content.
class file_memory
{
public:
    /// Allocates the memory, unless there is some.
    void allocate(std::size_t size)
    {
        if (memory_)
            return;
        size_ = size;
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
