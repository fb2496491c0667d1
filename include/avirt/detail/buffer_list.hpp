// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/buffer.hpp>

#include <array>
#include <cstddef>
#include <vector>

namespace avirt::detail {

namespace asio = boost::asio;

template <class T>
concept mutable_buffers = asio::is_mutable_buffer_sequence<T>::value;

template <class T>
concept const_buffers = asio::is_const_buffer_sequence<T>::value;

/// The buffers of a buffer sequence that are not empty, without knowledge of its type. A buffer sequence
/// itself. As many buffers as Asio's composed operations show to a stream at a time need no memory.
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
        for (auto it = asio::buffer_sequence_begin(buffers); it != end; ++it) {
            const Buffer buffer(*it);
            if (buffer.size() != 0)
                add(buffer);
        }
    }

    const_iterator begin() const noexcept
    {
        return many_.empty() ? few_.data() : many_.data();
    }

    const_iterator end() const noexcept
    {
        return begin() + count_;
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
        return *begin();
    }

    /// The number of bytes.
    std::size_t size() const noexcept
    {
        return asio::buffer_size(*this);
    }

private:
    void add(const Buffer& buffer)
    {
        if (count_ < few_.size()) {
            few_[count_++] = buffer;
            return;
        }
        if (many_.empty())
            many_.assign(few_.begin(), few_.end());
        many_.push_back(buffer);
        ++count_;
    }

    std::array<Buffer, 16> few_{};
    std::vector<Buffer> many_{}; // all of them, if they are too many
    std::size_t count_ = 0;
};

using mutable_buffer_list = buffer_list<asio::mutable_buffer>;
using const_buffer_list = buffer_list<asio::const_buffer>;

} // namespace avirt::detail
