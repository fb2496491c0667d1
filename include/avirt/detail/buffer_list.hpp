// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/buffer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace avirt::detail {

namespace asio = boost::asio;

/// The first buffers of a buffer sequence that are not empty: as many as Asio's composed operations show to
/// a stream at a time. A buffer sequence itself.
template <class Buffer>
class buffer_list
{
public:
    using value_type = Buffer;
    using const_iterator = const Buffer*;

    buffer_list() = default;

    template <class BufferSequence>
    explicit buffer_list(const BufferSequence& buffers)
    {
        const auto end = asio::buffer_sequence_end(buffers);
        for (auto it = asio::buffer_sequence_begin(buffers); it != end && count_ != buffers_.size(); ++it) {
            const Buffer buffer(*it);
            if (buffer.size() != 0)
                buffers_[count_++] = buffer;
        }
    }

    const_iterator begin() const noexcept
    {
        return buffers_.data();
    }

    const_iterator end() const noexcept
    {
        return buffers_.data() + count_;
    }

    bool empty() const noexcept
    {
        return count_ == 0;
    }

    /// The number of buffers.
    std::size_t count() const noexcept
    {
        return count_;
    }

    const Buffer& front() const noexcept
    {
        return buffers_.front();
    }

    /// The number of bytes.
    std::size_t size() const noexcept
    {
        return asio::buffer_size(*this);
    }

private:
    std::array<Buffer, 16> buffers_{};
    std::size_t count_ = 0;
};

using mutable_buffer_list = buffer_list<asio::mutable_buffer>;
using const_buffer_list = buffer_list<asio::const_buffer>;

} // namespace avirt::detail
