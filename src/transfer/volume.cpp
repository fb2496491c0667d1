// SPDX-License-Identifier: BSL-1.0
#include "transfer/volume.hpp"

#include "stream/own_stream.hpp"
#include "transfer/sparse_stream.hpp"

#include <boost/asio/this_coro.hpp>

#include <utility>

namespace avirt::detail {

std::string transfer_volume::name() const
{
    if (!where.pool.empty())
        return where.pool + "/" + where.name;
    return where.path.empty() ? where.key : where.path;
}

namespace {

asio::awaitable<comparison> compare(
    file_reader& file, std::uint64_t size, const transfer_volume& volume, volume_download open,
    own_stream& stream, transfer_meter& meter)
{
    comparison result;
    open.sparse = true;
    result.error = co_await stream.open(volume.connection, std::move(open));
    if (!result.error)
        result.error = co_await file.start(0, size);
    if (result.error)
        co_return result;
    sparse_source source(stream.impl());
    co_return co_await compare(file, source, meter);
}

} // namespace

asio::awaitable<comparison> compare(
    file_reader& file, const transfer_volume& volume, std::uint64_t offset, std::uint64_t size,
    transfer_meter& meter)
{
    own_stream stream(co_await asio::this_coro::executor);
    const volume_download open(volume.where, offset); // up to the end, which may be a hole
    co_return co_await compare(file, size, volume, open, stream, meter);
}

asio::awaitable<failure> verify(
    file_reader& file, const std::filesystem::path& path, const transfer_volume& volume, std::uint64_t offset,
    std::uint64_t size, transfer_meter& meter)
{
    if (size == 0) // A length of 0 would mean the whole volume.
        co_return failure();
    own_stream stream(co_await asio::this_coro::executor);
    const volume_download open(volume.where, offset, size);
    auto compared = co_await compare(file, size, volume, open, stream, meter);
    if (!compared.error && compared.is_equal)
        compared.error = co_await stream.finish();
    if (compared.error || compared.is_equal)
        co_return compared.error;
    failure f(error::verification_failed);
    f.details.message = "the file '" + path.string() + "' differs from the volume '" + volume.name()
        + "' at offset " + std::to_string(compared.equal());
    if (offset > 0)
        f.details.message +=
            ", which is offset " + std::to_string(offset + compared.equal()) + " of the volume";
    co_return f;
}

} // namespace avirt::detail
