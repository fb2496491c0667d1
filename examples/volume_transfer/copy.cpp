// SPDX-License-Identifier: BSL-1.0
#include "copy.hpp"
#include "comparison.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

copy::copy(volume from, volume to) : from_(std::move(from)), to_(std::move(to)) {}

std::string copy::text() const
{
    return from_.text() + " to " + to_.text();
}

asio::awaitable<std::uint64_t> copy::size()
{
    const auto info = co_await from_.info();
    co_return info.physical;
}

// A hole that is sent keeps the old data that the target has in its place, and cuts off the target behind the
// hole. So holes are sent only where the target has no data; and one more is sent at the end, if the target
// is larger than the source. What an interrupted copy has left may be smaller than the target was.
asio::awaitable<avirt::progress> copy::move(avirt::transfer_options options)
{
    const auto size = co_await this->size();
    const auto target = co_await to_.info();
    const auto space = std::max(target.capacity, target.physical);
    if (size > space && !options.resume)
        throw std::runtime_error(
            "the " + std::to_string(size) + " bytes of the volume '" + from_.text()
            + "' do not fit into the volume '" + to_.text() + "' of " + std::to_string(space) + " bytes");

    avirt::progress moved;
    moved.total = size;
    auto data_end = target.allocation == 0 ? 0 : size;
    if (options.resume) {
        moved.bytes = co_await equal_bytes(from_, to_, size);
        data_end = co_await end_of_data(to_, moved.bytes, target.physical);
    }
    const auto begin = moved.bytes;
    const auto middle = options.sparse ? std::clamp(data_end, begin, size) : size;
    options.sparse = false;
    co_await move_part({begin, middle, 0}, options, moved);
    options.sparse = true;
    co_await move_part({middle, size, target.physical - std::min(target.physical, size)}, options, moved);
    if (options.verify) {
        const auto equal = co_await equal_bytes(from_, to_, size);
        if (equal != size)
            throw std::runtime_error(
                "the volume '" + to_.text() + "' differs from the volume '" + from_.text() + "' at offset "
                + std::to_string(equal));
    }
    co_return moved;
}

/// Adds what it has moved to @p moved.
asio::awaitable<void> copy::move_part(part which, avirt::transfer_options options, avirt::progress& moved)
{
    const auto length = which.end - which.begin;
    if (length == 0)
        co_return;
    const auto executor = co_await asio::this_coro::executor;

    avirt::volume_download source{from_.where(), which.begin, length};
    source.sparse = true;
    avirt::async_stream from{executor};
    from.stop_at_holes(true); // Otherwise holes would be read as zeros.
    co_await from.async_open(from_.host(), source, avirt::with_details(asio::use_awaitable));

    avirt::volume_upload target{to_.where(), which.begin, length + which.hole_behind};
    target.sparse = options.sparse;
    avirt::async_stream to{executor};
    co_await to.async_open(to_.host(), target, avirt::with_details(asio::use_awaitable));

    const auto before = moved;
    options.on_progress = [&moved, before, report = options.on_progress](const avirt::progress& p) {
        moved.bytes = before.bytes + p.bytes;
        moved.hole_bytes = before.hole_bytes + p.hole_bytes;
        moved.elapsed = before.elapsed + p.elapsed;
        report(moved);
    };
    co_await avirt::async_send_all(to, from, options, avirt::with_details(asio::use_awaitable));
    co_await from.async_finish(avirt::with_details(asio::use_awaitable));
    if (which.hole_behind > 0)
        co_await to.async_write_hole(which.hole_behind, avirt::with_details(asio::use_awaitable));
    co_await to.async_finish(avirt::with_details(asio::use_awaitable));
}

asio::awaitable<std::string> copy::source_checksum(std::uint64_t size, avirt::transfer_limits limits)
{
    return checksum(from_, size, std::move(limits));
}

asio::awaitable<std::string> copy::target_checksum(std::uint64_t size, avirt::transfer_limits limits)
{
    return checksum(to_, size, std::move(limits));
}

std::string copy::target() const
{
    return to_.text();
}

std::string copy::remains(bool) const
{
    return to_.text() + " contains a part of it; with --resume the same command continues it.";
}
