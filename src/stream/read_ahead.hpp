// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/buffer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <list>
#include <string_view>
#include <vector>

namespace avirt::detail {

/// Data that was taken out of libvirt's queue before a read asked for it: bytes, and holes as their lengths.
/// Memory is given back as the data is read.
class read_ahead
{
public:
    bool empty() const noexcept
    {
        return pieces_.empty();
    }

    /// Roughly how much memory the data takes.
    std::size_t size() const noexcept
    {
        return size_;
    }

    void append(std::string_view bytes)
    {
        if (bytes.empty())
            return;
        if (pieces_.empty() || pieces_.back().bytes.empty()
            || pieces_.back().bytes.size() + bytes.size() > largest_piece) {
            pieces_.emplace_back();
            size_ += sizeof(piece);
        }
        auto& last = pieces_.back().bytes;
        last.insert(last.end(), bytes.begin(), bytes.end());
        size_ += bytes.size();
    }

    void append_hole(std::uint64_t length)
    {
        if (length == 0)
            return;
        if (pieces_.empty() || pieces_.back().hole == 0
            || length > std::numeric_limits<std::uint64_t>::max() - pieces_.back().hole) {
            pieces_.emplace_back();
            size_ += sizeof(piece);
        }
        pieces_.back().hole += length;
    }

    bool begins_with_hole() const noexcept
    {
        return !pieces_.empty() && pieces_.front().hole != 0;
    }

    /// Whether a hole is all there is.
    bool is_hole() const noexcept
    {
        return begins_with_hole() && pieces_.size() == 1;
    }

    /// Takes the hole with which the data begins. Returns its length; 0: it does not begin with a hole.
    std::uint64_t take_hole() noexcept
    {
        std::uint64_t length = 0;
        while (begins_with_hole()
               && length <= std::numeric_limits<std::uint64_t>::max() - pieces_.front().hole) {
            length += pieces_.front().hole;
            drop_first();
        }
        return length;
    }

    /// Moves data to the buffer until the buffer is full or no data is left. Holes become zeros, unless
    /// @p stops_at_hole. Returns the number of bytes.
    std::size_t take(asio::mutable_buffer to, bool stops_at_hole) noexcept
    {
        const auto wanted = to.size();
        while (to.size() != 0 && !pieces_.empty() && !(stops_at_hole && begins_with_hole())) {
            auto& first = pieces_.front();
            const bool is_hole = first.hole != 0;
            const auto left = is_hole ? first.hole : first.bytes.size() - taken_;
            const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left, to.size()));
            if (is_hole) {
                std::memset(to.data(), 0, n);
                first.hole -= n;
            }
            else {
                std::memcpy(to.data(), first.bytes.data() + taken_, n);
                taken_ += n;
            }
            to += n;
            if (n == left)
                drop_first();
        }
        return wanted - to.size();
    }

private:
    /// Small packets share a piece.
    static constexpr std::size_t largest_piece = 64 * 1024;

    /// Either bytes or a hole.
    struct piece
    {
        std::vector<char> bytes{};
        std::uint64_t hole = 0;
    };

    void drop_first() noexcept
    {
        size_ -= sizeof(piece) + pieces_.front().bytes.size();
        pieces_.pop_front();
        taken_ = 0;
    }

    std::list<piece> pieces_;
    std::size_t taken_ = 0; // bytes of the first piece that were read
    std::size_t size_ = 0;
};

} // namespace avirt::detail
