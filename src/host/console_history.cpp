// SPDX-License-Identifier: BSL-1.0
#include "host/console_history.hpp"

#include <algorithm>
#include <cstring>

namespace avirt::detail {

console_history::console_history(std::size_t capacity, console_state first)
    : capacity_(std::max<std::size_t>(capacity, 1)),
      // Neither end of the output, nor that of the prepared memory, is the end of a chunk.
      chunks_(capacity_ / chunk_size + max_prepared / chunk_size + 3),
      state_before_(first)
{
}

std::uint64_t console_history::begin() const noexcept
{
    return end_ - std::min<std::uint64_t>(end_, capacity_);
}

mutable_buffer_list console_history::prepare(std::size_t size)
{
    const auto up_to = end_ + std::min(size, max_prepared);
    std::array<asio::mutable_buffer, max_prepared / chunk_size + 1> buffers;
    auto buffer = buffers.begin();
    for (auto at = end_; at < up_to; ++buffer) {
        auto& owner = chunks_[at / chunk_size % chunks_.size()];
        if (!owner)
            owner = std::make_unique_for_overwrite<chunk>();
        *buffer = asio::buffer(memory_at(at), static_cast<std::size_t>(up_to - at));
        at += buffer->size();
    }
    return mutable_buffer_list(buffers);
}

void console_history::commit(std::size_t size) noexcept
{
    end_ += size;
    forget_changes_before_begin();
}

void console_history::change(console_state state)
{
    changes_.push_back({end_, ++last_change_, state});
    if (changes_.size() <= max_changes)
        return;
    // A change is missed least if another one follows without any output in between.
    const auto same_place = [](const state_change& a, const state_change& b) { return a.offset == b.offset; };
    if (const auto found = std::ranges::adjacent_find(changes_, same_place); found != changes_.end())
        changes_.erase(found);
    else
        forget_first_change();
}

void console_history::forget_changes_before_begin() noexcept
{
    while (!changes_.empty() && changes_.front().offset < begin())
        forget_first_change();
}

void console_history::forget_first_change() noexcept
{
    state_before_ = changes_.front().state;
    changes_.pop_front();
}

std::uint64_t console_history::first_change() const noexcept
{
    return changes_.empty() ? last_change_ + 1 : changes_.front().number;
}

console_history::place console_history::first() const noexcept
{
    return {begin(), first_change(), state_before_};
}

console_history::place console_history::last() const noexcept
{
    return {end_, last_change_ + 1, state()};
}

console_history::place console_history::at(std::uint64_t offset) const noexcept
{
    if (offset >= end_)
        return last();
    auto result = first();
    result.offset = offset;
    for (auto c = changes_.begin(); c != changes_.end() && c->offset < offset; ++c) {
        result.change = c->number + 1;
        result.state = c->state;
    }
    return result;
}

std::optional<console_history::read_result> console_history::read(
    place& from, const mutable_buffer_list& to) const
{
    if (from.offset < begin()) {
        const auto lost = from.lost + begin() - from.offset;
        from = first();
        from.lost = lost;
        return read_result{error::output_lost};
    }
    auto up_to = end_;
    const auto next = std::ranges::lower_bound(changes_, from.change, {}, &state_change::number);
    if (next != changes_.end()) {
        if (next->offset == from.offset) {
            from.change = next->number + 1;
            from.state = next->state;
            return read_result{error::console_state_changed};
        }
        up_to = next->offset;
    }
    if (from.offset == up_to)
        return std::nullopt;
    const auto bytes = copy(from.offset, up_to, to);
    from.offset += bytes;
    return read_result{{}, bytes};
}

asio::mutable_buffer console_history::memory_at(std::uint64_t offset) const noexcept
{
    return asio::buffer(*chunks_[offset / chunk_size % chunks_.size()]) + offset % chunk_size;
}

std::size_t console_history::copy(
    std::uint64_t from, std::uint64_t to, const mutable_buffer_list& buffers) const noexcept
{
    std::size_t copied = 0;
    for (auto buffer : buffers) {
        while (buffer.size() != 0 && from != to) {
            const auto left = static_cast<std::size_t>(to - from);
            const auto n = asio::buffer_copy(buffer, asio::buffer(memory_at(from), left));
            buffer += n;
            from += n;
            copied += n;
        }
    }
    return copied;
}

} // namespace avirt::detail
