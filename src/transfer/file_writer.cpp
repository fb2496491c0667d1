// SPDX-License-Identifier: BSL-1.0
#include "transfer/file_writer.hpp"

#include "transfer/file_chunk.hpp"
#include "transfer/source_file.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace avirt::detail {

/// A hole, and the data that follows it.
struct file_writer::chunk
{
    std::uint64_t hole = 0;
    file_memory memory{};
    std::size_t size = 0;
    failure error{};
    std::uint64_t step = 0; // that writes it

    bool empty() const noexcept
    {
        return hole == 0 && size == 0;
    }
};

/// What the worker threads use.
struct file_writer::state
{
    state(std::filesystem::path target, bool resumes) : file(std::move(target), resumes) {}

    partial_file file;
    bool finds_zeros = false;
    bool has_failed = false; // Nothing more is written.
    std::uint64_t position = 0;
    std::array<chunk, file_chunks> chunks{};
    std::vector<file_piece> pieces{};

    void skip(std::uint64_t length)
    {
        file.skip(length);
        position += length;
    }

    failure write(asio::const_buffer data)
    {
        pieces.clear();
        if (finds_zeros)
            detail::find_zeros(data, position, pieces);
        else
            pieces.push_back({false, data.size()});
        for (const auto& piece : pieces) {
            const auto part = asio::buffer(data, static_cast<std::size_t>(piece.length));
            data += part.size();
            if (piece.is_hole)
                file.skip(piece.length);
            else if (auto f = file.write(part))
                return f;
            position += piece.length;
        }
        return {};
    }

    void write(chunk& c)
    {
        if (has_failed)
            return;
        skip(c.hole);
        c.error = write(asio::buffer(c.memory.buffer(), c.size));
        has_failed = c.error.code.failed();
        c.hole = c.size = 0;
    }
};

file_writer::file_writer(const asio::any_io_executor& executor, std::filesystem::path target, bool resumes)
    : worker_(file_worker::make(executor)),
      resumes_(resumes),
      state_(std::make_shared<state>(std::move(target), resumes))
{
}

file_writer::~file_writer()
{
    if (state_)
        end();
}

asio::awaitable<failure> file_writer::open()
{
    const auto open_file = [s = state_] {
        auto f = s->file.open();
        s->position = s->file.found();
        return f;
    };
    co_return co_await worker_->run(open_file);
}

std::uint64_t file_writer::found() const noexcept
{
    return state_->file.found();
}

void file_writer::find_zeros() noexcept
{
    state_->finds_zeros = true;
}

asio::awaitable<failure> file_writer::restart()
{
    const auto restart_file = [s = state_] {
        s->position = 0;
        return s->file.restart();
    };
    co_return co_await worker_->run(restart_file);
}

/// Waits until the current chunk is not being written any more. Fails if it could not be written.
asio::awaitable<failure> file_writer::wait_for_chunk()
{
    auto& c = state_->chunks[chunk_];
    if (!is_free_) {
        if (auto f = co_await worker_->wait(c.step))
            co_return f;
        is_free_ = true;
    }
    co_return c.error;
}

/// Makes a worker thread write the current chunk.
failure file_writer::submit()
{
    auto& c = state_->chunks[chunk_];
    failure f;
    c.step = worker_->post([s = state_, &c] { s->write(c); }, f);
    chunk_ = (chunk_ + 1) % file_chunks;
    is_free_ = false;
    return f;
}

asio::awaitable<prepared> file_writer::prepare()
{
    prepared result;
    result.error = co_await wait_for_chunk();
    if (result.error)
        co_return result;
    auto& c = state_->chunks[chunk_];
    c.memory.allocate(write_chunk_size);
    result.memory = c.memory.buffer() + c.size;
    co_return result;
}

failure file_writer::commit(std::size_t bytes)
{
    auto& c = state_->chunks[chunk_];
    c.size += bytes;
    return c.size == c.memory.buffer().size() ? submit() : failure();
}

asio::awaitable<transferred> file_writer::write(asio::const_buffer data)
{
    transferred result;
    while (data.size() > 0 && !result.error) {
        auto next = co_await prepare();
        result.error = std::move(next.error);
        if (result.error)
            break;
        const auto n = asio::buffer_copy(next.memory, data);
        result.error = commit(n);
        result.bytes += n;
        data += n;
    }
    co_return result;
}

asio::awaitable<failure> file_writer::write_hole(std::uint64_t length)
{
    auto f = co_await wait_for_chunk();
    if (!f && state_->chunks[chunk_].size > 0) {
        f = submit();
        if (!f)
            f = co_await wait_for_chunk();
    }
    if (!f)
        state_->chunks[chunk_].hole += length;
    co_return f;
}

asio::awaitable<failure> file_writer::flush()
{
    auto f = co_await wait_for_chunk();
    if (!f && !state_->chunks[chunk_].empty())
        f = submit();
    // Each chunk has been written, the oldest first, so that the first failure is reported.
    for (std::size_t i = 0; i < file_chunks && !f; ++i) {
        f = co_await wait_for_chunk();
        chunk_ = (chunk_ + 1) % file_chunks;
        is_free_ = false;
    }
    if (f)
        co_return f;
    const auto flush_file = [s = state_] { return s->file.flush(); };
    co_return co_await worker_->run(flush_file);
}

asio::awaitable<failure> file_writer::complete()
{
    const auto sync_file = [s = state_] { return s->file.sync(); };
    if (auto f = co_await worker_->run(sync_file))
        co_return f;
    const auto rename_file = [s = state_] { return s->file.rename(); };
    co_return co_await worker_->run(rename_file, file_worker::cancellation::delayed);
}

unique_fd file_writer::duplicate() const noexcept
{
    return state_->file.duplicate();
}

asio::awaitable<failure> file_writer::spoil()
{
    const auto spoil_file = [s = state_] {
        s->file.spoil();
        return failure();
    };
    co_return co_await worker_->run(spoil_file);
}

asio::awaitable<void> file_writer::close()
{
    end();
    co_await worker_->wait_for_end();
}

/// Makes a worker thread close the file, after it has written what is to be resumed.
void file_writer::end() noexcept
{
    const auto others = resumes_ ? file_worker::unstarted::execute : file_worker::unstarted::drop;
    const auto s = std::exchange(state_, nullptr);
    auto& last = s->chunks[chunk_];
    // The current chunk belongs to the worker thread unless it has been waited for.
    const bool has_last = resumes_ && is_free_ && !last.empty();
    worker_->end_with(
        [s = std::move(s), &last, has_last] {
            if (has_last)
                s->write(last);
        },
        others);
}

} // namespace avirt::detail
