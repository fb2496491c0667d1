// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/buffer_list.hpp>
#include <avirt/transfer_packets.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>

namespace avirt::detail {

/// Maximum size of a packet, for the daemon that takes or sends it.
inline constexpr std::size_t largest_packet = transfer_packets::largest_packet;

/// The beginning of a list of buffers as one block, because libvirt sends one block at a time. A buffer that
/// fills the block alone is sent from where it is; others are gathered, so that they share a packet.
///
/// One object at a time can exist in a thread: all use the same memory.
class contiguous_bytes
{
public:
    /// @param most The most bytes to send, at most largest_packet if they have to be gathered.
    contiguous_bytes(const const_buffer_list& buffers, std::size_t most)
        : first_(buffers.front()),
          size_(std::min(first_.size(), most))
    {
        if (size_ == most || size_ >= largest_packet || buffers.count() == 1)
            return;
        const auto block = asio::buffer(memory(), std::min(most, largest_packet));
        size_ = asio::buffer_copy(block, buffers);
        first_ = block;
    }

    contiguous_bytes(const contiguous_bytes&) = delete;
    contiguous_bytes& operator=(const contiguous_bytes&) = delete;

    const char* data() const noexcept
    {
        return static_cast<const char*>(first_.data());
    }

    std::size_t size() const noexcept
    {
        return size_;
    }

private:
    static char* memory()
    {
        // Not make_unique, which would fill it with zeros.
        thread_local const std::unique_ptr<char[]> bytes(new char[largest_packet]);
        return bytes.get();
    }

    asio::const_buffer first_;
    std::size_t size_;
};

} // namespace avirt::detail
