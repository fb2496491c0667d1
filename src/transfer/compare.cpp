// SPDX-License-Identifier: BSL-1.0
#include "transfer/compare.hpp"

#include <avirt/error.hpp>
#include <avirt/transfer_packets.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace avirt::detail {
namespace {

/// After the first difference, the other source is searched so far for the hole at its end: a file system
/// fills up the last block of its data.
constexpr std::uint64_t search_length = 4 * 1024 * 1024;

/// Returns how many bytes at the beginning are equal.
std::size_t count_equal(asio::const_buffer a, asio::const_buffer b) noexcept
{
    const auto size = std::min(a.size(), b.size());
    const auto* first = static_cast<const char*>(a.data());
    const auto* second = static_cast<const char*>(b.data());
    if (size == 0 || std::memcmp(first, second, size) == 0)
        return size;
    return static_cast<std::size_t>(std::mismatch(first, first + size, second).first - first);
}

/// Returns how many bytes at the beginning are zeros.
std::size_t count_zeros(asio::const_buffer data) noexcept
{
    const auto* begin = static_cast<const char*>(data.data());
    const auto* end = begin + data.size();
    if (data.size() > 0 && *begin == 0 && std::memcmp(begin, begin + 1, data.size() - 1) == 0)
        return data.size();
    return static_cast<std::size_t>(std::find_if(begin, end, [](char c) { return c != 0; }) - begin);
}

/// The source that is compared with the file: what has been read of it and not been compared.
class other_source
{
public:
    other_source(transfer_source& source, transfer_meter& meter)
        : source_(source),
          meter_(meter),
          memory_(std::min(transfer_packets::largest_packet, meter.largest_piece()))
    {
    }

    /// Reads more if all has been compared.
    asio::awaitable<failure> fill()
    {
        while (data_.size() == 0 && hole_ == 0 && !is_at_end_) {
            const auto read = co_await source_.read_some(asio::buffer(memory_));
            data_ = asio::buffer(memory_, read.bytes);
            if (read.error.code == error::at_hole) {
                const auto found = co_await source_.read_hole();
                if (found.error)
                    co_return found.error;
                hole_ = found.length;
            }
            else if (read.error.code == asio::error::eof) {
                is_at_end_ = true;
            }
            else if (read.error) {
                co_return read.error;
            }
            co_await meter_.wait_for_turn(read.bytes);
            meter_.count(0);
            const auto cancellation = co_await asio::this_coro::cancellation_state;
            if (cancellation.cancelled() != asio::cancellation_type::none)
                co_return failure(asio::error::operation_aborted);
        }
        co_return failure();
    }

    bool is_at_end() const noexcept
    {
        return is_at_end_;
    }

    asio::const_buffer data() const noexcept
    {
        return data_;
    }

    std::uint64_t hole() const noexcept
    {
        return hole_;
    }

    void consume(std::uint64_t length) noexcept
    {
        position_ += length;
        if (hole_ > 0)
            hole_ -= length;
        else
            data_ += static_cast<std::size_t>(length);
    }

    /// Looks for the hole at the end. Returns where it begins.
    asio::awaitable<std::optional<std::uint64_t>> find_last_hole()
    {
        const auto end = position_ + search_length;
        auto last_data = position_; // its end
        while (last_data < end) {
            const auto f = co_await fill();
            if (f)
                break;
            if (is_at_end_)
                co_return last_data;
            const bool is_data = hole_ == 0;
            consume(is_data ? data_.size() : hole_);
            if (is_data)
                last_data = position_;
        }
        co_return std::nullopt;
    }

private:
    transfer_source& source_;
    transfer_meter& meter_;
    std::vector<char> memory_;
    asio::const_buffer data_{};
    std::uint64_t hole_ = 0;
    std::uint64_t position_ = 0;
    bool is_at_end_ = false;
};

} // namespace

asio::awaitable<comparison> compare(file_reader& file, transfer_source& source, transfer_meter& meter)
{
    comparison result;
    other_source other(source, meter);
    for (;;) {
        const auto f = co_await file.peek();
        if (f.code == asio::error::eof) {
            result.is_equal = true;
            co_return result;
        }
        result.error = f;
        if (!result.error)
            result.error = co_await other.fill();
        if (result.error)
            co_return result;
        const auto hole = file.hole_length();
        std::uint64_t wanted = hole > 0 ? hole : file.data().size();
        std::uint64_t equal = 0;
        if (other.hole() > 0) {
            wanted = std::min(wanted, other.hole());
            equal =
                hole > 0 ? wanted : count_zeros(asio::buffer(file.data(), static_cast<std::size_t>(wanted)));
        }
        else {
            wanted = std::min<std::uint64_t>(wanted, other.data().size());
            const auto theirs = asio::buffer(other.data(), static_cast<std::size_t>(wanted));
            equal = hole > 0 ? count_zeros(theirs) : count_equal(file.data(), theirs);
        }
        (hole > 0 ? result.hole_bytes : result.bytes) += equal;
        other.consume(equal);
        if (equal < wanted || other.is_at_end()) {
            result.last_hole = co_await other.find_last_hole();
            co_return result;
        }
        result.error = file.consume(equal);
        if (result.error)
            co_return result;
    }
}

} // namespace avirt::detail
