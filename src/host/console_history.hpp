// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_state.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/error.hpp>

#include <boost/asio/buffer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace avirt::detail {

/// The latest output of a console, and the changes of its state at their places in the output. An offset is
/// the number of bytes that came before. Guarded by its owner's lock.
class console_history
{
public:
    /// @param capacity Number of bytes that are kept.
    /// @param first The state at the beginning.
    console_history(std::size_t capacity, console_state first);

    /// The offset of the oldest byte that is kept.
    std::uint64_t begin() const noexcept;

    /// The offset of the next byte that comes.
    std::uint64_t end() const noexcept
    {
        return end_;
    }

    console_state state() const noexcept
    {
        return changes_.empty() ? state_before_ : changes_.back().state;
    }

    /// Returns memory for at most max_prepared further bytes. It does not belong to the history before
    /// commit(), and remains valid until then.
    mutable_buffer_list prepare(std::size_t size);
    /// Adds bytes that have been written to the prepared memory.
    void commit(std::size_t size) noexcept;
    void change(console_state state);

    /// The place that a view has come to.
    struct place
    {
        std::uint64_t offset = 0;
        std::uint64_t change = 0; // The next one has this number or a higher one.
        console_state state = console_state::host_away;
        std::uint64_t lost = 0; // bytes that have been skipped
    };

    /// The place of the oldest byte that is kept.
    place first() const noexcept;
    /// The place of the next byte that comes, behind the changes there.
    place last() const noexcept;
    /// The place before the changes at an offset, which may lie before begin(). Beyond the end, it is last().
    place at(std::uint64_t offset) const noexcept;

    struct read_result
    {
        error_code error{};
        std::size_t bytes = 0;
    };

    /// Reads what comes next, and moves the place on: output up to the next change of state, or
    /// error::console_state_changed, or error::output_lost. Returns nothing if nothing has come yet.
    std::optional<read_result> read(place& from, const mutable_buffer_list& to) const;

    static constexpr std::size_t max_prepared = 16 * 1024;

private:
    static constexpr std::size_t chunk_size = 4096;
    using chunk = std::array<std::byte, chunk_size>;

    struct state_change
    {
        std::uint64_t offset;
        std::uint64_t number;
        console_state state;
    };

    // A console may change its state for ever without any output. So the number of changes is limited, too,
    // but no output is lost by that.
    static constexpr std::size_t max_changes = 256;

    /// The part of a chunk from an offset on.
    asio::mutable_buffer memory_at(std::uint64_t offset) const noexcept;
    void forget_changes_before_begin() noexcept;
    void forget_first_change() noexcept;
    std::uint64_t first_change() const noexcept;
    std::size_t copy(std::uint64_t from, std::uint64_t to, const mutable_buffer_list& buffers) const noexcept;

    const std::size_t capacity_;
    std::vector<std::unique_ptr<chunk>> chunks_; // a ring, by offset; null: has not been needed yet
    std::uint64_t end_ = 0;
    std::deque<state_change> changes_;
    std::uint64_t last_change_ = 0; // its number
    console_state state_before_;    // before changes_.front()
};

} // namespace avirt::detail
