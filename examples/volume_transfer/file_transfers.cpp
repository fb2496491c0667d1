// SPDX-License-Identifier: BSL-1.0
#include "file_transfers.hpp"
#include "sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace {

/// Computes the SHA-256 of the first @p size bytes of a file. The loop has its turn after each piece; a
/// program that serves others would do this on a thread.
asio::awaitable<std::string> checksum(fs::path path, std::uint64_t size)
{
    constexpr std::uint64_t largest_piece = 256 * 1024;
    const auto piece = std::make_unique<char[]>(largest_piece);
    std::ifstream file(path, std::ios::binary);
    sha256 sum;
    while (size > 0) {
        const auto n = static_cast<std::size_t>(std::min(size, largest_piece));
        if (!file.read(piece.get(), static_cast<std::streamsize>(n)))
            throw std::system_error(errno, std::generic_category(), "'" + path.string() + "' cannot be read");
        sum.update(asio::buffer(piece.get(), n));
        size -= n;
        co_await asio::post(asio::use_awaitable);
    }
    co_return sum.digits();
}

} // namespace

download::download(volume from, fs::path to) : from_(std::move(from)), to_(std::move(to)) {}

std::string download::text() const
{
    return from_.text() + " to " + to_.string();
}

asio::awaitable<std::uint64_t> download::size()
{
    const auto info = co_await from_.info();
    co_return info.physical;
}

asio::awaitable<avirt::progress> download::move(avirt::transfer_options options)
{
    return avirt::async_download(
        from_.host(), from_.where(), to_, std::move(options), avirt::with_details(asio::use_awaitable));
}

asio::awaitable<std::string> download::source_checksum(std::uint64_t size, avirt::transfer_limits limits)
{
    return checksum(from_, size, std::move(limits));
}

asio::awaitable<std::string> download::target_checksum(std::uint64_t size, avirt::transfer_limits)
{
    return checksum(to_, size);
}

std::string download::target() const
{
    return to_.string();
}

std::string download::remains(bool resumes) const
{
    const auto part = to_.parent_path() / ("." + to_.filename().string() + ".part");
    if (resumes && fs::exists(part))
        return "'" + part.string() + "' is kept, and the same command continues it.";
    return "Nothing of it is left" + std::string(resumes ? "." : "; --resume would have kept it.");
}

upload::upload(fs::path from, volume to) : from_(std::move(from)), to_(std::move(to)) {}

std::string upload::text() const
{
    return from_.string() + " to " + to_.text();
}

asio::awaitable<std::uint64_t> upload::size()
{
    co_return fs::file_size(from_);
}

asio::awaitable<avirt::progress> upload::move(avirt::transfer_options options)
{
    return avirt::async_upload(
        to_.host(), from_, to_.where(), std::move(options), avirt::with_details(asio::use_awaitable));
}

asio::awaitable<std::string> upload::source_checksum(std::uint64_t size, avirt::transfer_limits)
{
    return checksum(from_, size);
}

asio::awaitable<std::string> upload::target_checksum(std::uint64_t size, avirt::transfer_limits limits)
{
    return checksum(to_, size, std::move(limits));
}

std::string upload::target() const
{
    return to_.text();
}

std::string upload::remains(bool) const
{
    return to_.text() + " contains a part of it; with --resume the same command continues it.";
}
