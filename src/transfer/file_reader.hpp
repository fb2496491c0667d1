// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/file_worker.hpp"
#include "transfer/source_file.hpp"
#include "transfer/transfer_ends.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace avirt::detail {

/// A file as the source of a transfer: worker threads read ahead a few chunks, so that the disk and the
/// network are busy at the same time.
class file_reader final : public transfer_source
{
public:
    using holes = source_file::holes;

    file_reader(const asio::any_io_executor& executor, std::filesystem::path path, holes reported);

    /// Reads a file that is open already. The path is for messages.
    file_reader(
        const asio::any_io_executor& executor, std::filesystem::path path, unique_fd file, holes reported);

    /// Never blocks: what is under way ends on its worker thread.
    ~file_reader() override;

    asio::awaitable<failure> open();

    std::uint64_t size() const noexcept override;

    /// Begins to read, at the offset and up to @p end. Anything that was read ahead before is dropped.
    asio::awaitable<failure> start(std::uint64_t offset, std::uint64_t end);

    asio::awaitable<transferred> read_some(asio::mutable_buffer buffer) override;
    asio::awaitable<hole> read_hole() override;

    bool has_memory() const override
    {
        return true;
    }

    asio::awaitable<failure> peek() override;
    asio::const_buffer data() const override;
    /// The length of the hole that peek() has found.
    std::uint64_t hole_length() const noexcept;

    /// Goes on after that much data or hole, and reads ahead more. Fails if no thread can be created.
    failure consume(std::uint64_t length) override;

private:
    struct state;
    struct chunk;

    failure fill(chunk& c);
    file_piece current() const noexcept;

    const std::shared_ptr<file_worker> worker_;
    std::shared_ptr<state> state_;
    std::size_t chunk_ = 0;   // the current one
    bool is_filled_ = false;  // The current one has been waited for.
    std::size_t piece_ = 0;   // the current one of the chunk
    std::uint64_t taken_ = 0; // of the piece
    std::size_t begin_ = 0;   // of the piece's data in the chunk; holes found in data take place there
};

} // namespace avirt::detail
