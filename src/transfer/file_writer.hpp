// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "transfer/file_worker.hpp"
#include "transfer/partial_file.hpp"
#include "transfer/transfer_ends.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace avirt::detail {

/// A file as the sink of a transfer. Worker threads write a few chunks behind the transfer, so that the disk
/// and the network are busy at the same time. The failure of a write is reported by a later one, or by
/// flush().
class file_writer final : public transfer_sink
{
public:
    file_writer(const asio::any_io_executor& executor, std::filesystem::path target, bool resumes);

    /// Never blocks. Unless the file is complete or can be resumed, it is removed on a worker thread.
    ~file_writer() override;

    /// Opens the file beside its target.
    asio::awaitable<failure> open();

    /// The number of bytes that open() has found, after which the file is continued.
    std::uint64_t found() const noexcept;

    /// From now on, runs of zeros in the data become holes. Called before anything is written.
    void find_zeros() noexcept;

    /// Drops what open() has found.
    asio::awaitable<failure> restart();

    asio::awaitable<transferred> write(asio::const_buffer data) override;
    bool can_write_holes() const override
    {
        return true;
    }

    asio::awaitable<failure> write_hole(std::uint64_t length) override;

    bool has_memory() const override
    {
        return true;
    }

    asio::awaitable<prepared> prepare() override;
    failure commit(std::size_t bytes) override;

    /// Waits until everything is written.
    asio::awaitable<failure> flush();

    /// Gives the file, which has been flushed, its name. Unless the file system hangs, a cancellation comes
    /// too late when the file is on the disk: otherwise it would not be known whether the file has its name.
    asio::awaitable<failure> complete();

    /// A descriptor of the file, to read it.
    unique_fd duplicate() const noexcept;

    /// Removes the file when it is closed, although it could be resumed.
    asio::awaitable<failure> spoil();

    /// Closes the file: if it is not complete, keeps what has been written or removes it. Waits for that,
    /// unless the file system hangs, and cannot be cancelled.
    asio::awaitable<void> close();

private:
    struct state;
    struct chunk;

    failure submit();
    asio::awaitable<failure> wait_for_chunk();
    void end() noexcept;

    const std::shared_ptr<file_worker> worker_;
    const bool resumes_;
    std::shared_ptr<state> state_;
    std::size_t chunk_ = 0; // the current one
    bool is_free_ = false;  // The current one has been waited for.
};

} // namespace avirt::detail
