// SPDX-License-Identifier: BSL-1.0
#include <avirt/sparse_transfer.hpp>

#include "transfer/file_reader.hpp"
#include "transfer/file_writer.hpp"
#include "transfer/pump.hpp"
#include "transfer/sparse_stream.hpp"
#include "transfer/transfer_operation.hpp"

#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <utility>

namespace avirt::detail {
namespace {

asio::awaitable<failure> receive_file(
    std::shared_ptr<stream_impl> stream, file_writer& file, bool keeps_holes, transfer_meter& meter)
{
    if (auto f = co_await file.open())
        co_return f;
    const auto find_zeros = [&file, keeps_holes] {
        if (keeps_holes)
            file.find_zeros();
    };
    sparse_source source(std::move(stream), find_zeros);
    auto f = co_await pump(source, file, meter, keeps_holes);
    if (!f)
        f = co_await file.flush();
    if (!f)
        f = co_await file.complete();
    co_return f;
}

asio::awaitable<failure> receive(
    std::shared_ptr<stream_impl> stream, std::filesystem::path path, bool keeps_holes, transfer_meter& meter)
{
    const auto executor = co_await asio::this_coro::executor;
    file_writer file(executor, std::move(path), false);
    failure result;
    try {
        result = co_await receive_file(std::move(stream), file, keeps_holes, meter);
    }
    catch (...) {
        result = current_failure();
    }
    co_await file.close();
    co_return result;
}

asio::awaitable<failure> send(
    std::shared_ptr<stream_impl> stream, std::filesystem::path path, transfer_options options,
    transfer_meter& meter)
{
    const auto executor = co_await asio::this_coro::executor;
    const auto holes = options.sparse ? file_reader::holes::zeros : file_reader::holes::none;
    file_reader file(executor, std::move(path), holes);
    if (auto f = co_await file.open())
        co_return f;
    const auto begin = std::min(options.offset, file.size());
    const auto rest = file.size() - begin;
    const auto size = options.length > 0 ? std::min(options.length, rest) : rest;
    meter.expect(size);
    if (auto f = co_await file.start(begin, begin + size))
        co_return f;
    sparse_sink sink(std::move(stream));
    co_return co_await pump(file, sink, meter, options.sparse);
}

} // namespace

void async_receive_sparse(
    std::shared_ptr<stream_impl> from, std::filesystem::path to, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details)
{
    const auto transfer = [from = std::move(from), to = std::move(to), keeps_holes = options.sparse](
                              transfer_meter& meter) { return receive(from, to, keeps_holes, meter); };
    launch_transfer(executors, std::move(options), std::move(handler), details, transfer);
}

void async_send_sparse(
    std::shared_ptr<stream_impl> to, std::filesystem::path from, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details)
{
    const auto transfer = [to = std::move(to), from = std::move(from), options](transfer_meter& meter) {
        return send(to, from, options, meter);
    };
    launch_transfer(executors, options, std::move(handler), details, transfer);
}

} // namespace avirt::detail
