// SPDX-License-Identifier: BSL-1.0
#include "transfer/file_reader.hpp"

#include "transfer/file_chunk.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace avirt::detail {

/// Some of the file's content.
struct file_reader::chunk
{
    file_memory memory;
    std::vector<file_piece> pieces{}; // none: the end
    failure error{};
    std::uint64_t step = 0; // that fills it
};

/// What the worker threads use.
struct file_reader::state
{
    state(std::filesystem::path path, unique_fd opened, holes reported)
        : file(std::move(path), reported),
          adopted(std::move(opened))
    {
    }

    source_file file;
    unique_fd adopted;
    bool has_ended = false; // An error, or the end: nothing more is read.
    std::array<chunk, file_chunks> chunks{};
};

file_reader::file_reader(const asio::any_io_executor& executor, std::filesystem::path path, holes reported)
    : file_reader(executor, std::move(path), unique_fd(), reported)
{
}

file_reader::file_reader(
    const asio::any_io_executor& executor, std::filesystem::path path, unique_fd file, holes reported)
    : worker_(file_worker::make(executor)),
      state_(std::make_shared<state>(std::move(path), std::move(file), reported))
{
}

file_reader::~file_reader()
{
    worker_->end_with([released = std::move(state_)] {}, file_worker::unstarted::drop);
}

asio::awaitable<failure> file_reader::open()
{
    const auto open_file = [s = state_] {
        return s->adopted ? s->file.adopt(std::move(s->adopted)) : s->file.open();
    };
    co_return co_await worker_->run(open_file);
}

std::uint64_t file_reader::size() const noexcept
{
    return state_->file.size();
}

asio::awaitable<failure> file_reader::start(std::uint64_t offset, std::uint64_t end)
{
    const auto seek = [s = state_, offset, end] {
        s->file.seek(offset, end);
        s->has_ended = false;
        return failure();
    };
    if (auto f = co_await worker_->run(seek))
        co_return f;
    chunk_ = piece_ = begin_ = 0;
    taken_ = 0;
    is_filled_ = false;
    for (auto& c : state_->chunks) {
        if (auto f = fill(c))
            co_return f;
    }
    co_return failure();
}

/// Makes a worker thread fill the chunk with what comes next.
failure file_reader::fill(chunk& c)
{
    failure f;
    c.step = worker_->post(
        [s = state_, &c] {
            c.error = {};
            c.pieces.clear();
            if (s->has_ended || s->file.is_at_end()) {
                s->has_ended = true;
                return;
            }
            // Less than a whole chunk if the file is smaller.
            c.memory.allocate(
                static_cast<std::size_t>(std::min<std::uint64_t>(s->file.size(), read_chunk_size)));
            c.error = s->file.read(c.memory.buffer(), c.pieces);
            s->has_ended = c.error.code.failed();
        },
        f);
    return f;
}

asio::awaitable<failure> file_reader::peek()
{
    const auto& c = state_->chunks[chunk_];
    if (!is_filled_) {
        if (auto f = co_await worker_->wait(c.step))
            co_return f;
        is_filled_ = true;
    }
    if (c.error)
        co_return c.error;
    if (c.pieces.empty())
        co_return failure(error_code(asio::error::eof));
    co_return failure();
}

/// What is left of the current piece.
file_piece file_reader::current() const noexcept
{
    auto piece = state_->chunks[chunk_].pieces[piece_];
    piece.length -= taken_;
    return piece;
}

asio::const_buffer file_reader::data() const
{
    const auto piece = current();
    if (piece.is_hole)
        return {};
    const auto offset = begin_ + static_cast<std::size_t>(taken_);
    return asio::buffer(
        state_->chunks[chunk_].memory.buffer() + offset, static_cast<std::size_t>(piece.length));
}

std::uint64_t file_reader::hole_length() const noexcept
{
    const auto piece = current();
    return piece.is_hole ? piece.length : 0;
}

failure file_reader::consume(std::uint64_t length)
{
    auto& c = state_->chunks[chunk_];
    taken_ += length;
    if (taken_ < c.pieces[piece_].length)
        return {};
    begin_ += static_cast<std::size_t>(taken_);
    taken_ = 0;
    if (++piece_ < c.pieces.size())
        return {};
    piece_ = begin_ = 0;
    is_filled_ = false;
    chunk_ = (chunk_ + 1) % file_chunks;
    return fill(c);
}

asio::awaitable<transferred> file_reader::read_some(asio::mutable_buffer buffer)
{
    if (auto f = co_await peek())
        co_return transferred{0, std::move(f)};
    if (hole_length() > 0)
        co_return transferred{0, error::at_hole};
    const auto n = asio::buffer_copy(buffer, data());
    co_return transferred{n, consume(n)};
}

asio::awaitable<hole> file_reader::read_hole()
{
    if (auto f = co_await peek())
        co_return hole{0, std::move(f)};
    const auto length = hole_length();
    co_return hole{length, length > 0 ? consume(length) : failure()};
}

} // namespace avirt::detail
