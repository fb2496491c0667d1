// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/buffer_list.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace avirt::detail {

/// The beginning of a list of buffers as one block, because libvirt sends one block at a time. A large first
/// buffer is sent from where it is; small buffers are gathered, so that they share a packet.
class contiguous_bytes
{
public:
    /// The most that is gathered.
    static constexpr std::size_t largest_copy = 64 * 1024;

    contiguous_bytes(const const_buffer_list& buffers, std::size_t most) noexcept
        : first_(buffers.front()),
          size_(std::min(first_.size(), most))
    {
        if (size_ == most || size_ >= largest_copy || buffers.count() == 1)
            return;
        size_ = asio::buffer_copy(asio::buffer(copy_, std::min(most, largest_copy)), buffers);
        first_ = asio::buffer(copy_);
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
    asio::const_buffer first_;
    std::size_t size_;
    std::array<char, largest_copy> copy_; // not initialised: most sends do not use it
};

} // namespace avirt::detail
