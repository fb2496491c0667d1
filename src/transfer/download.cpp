// SPDX-License-Identifier: BSL-1.0
#include <avirt/volume_transfer.hpp>

#include "connection/coroutines.hpp"
#include "stream/own_stream.hpp"
#include "transfer/file_failure.hpp"
#include "transfer/file_writer.hpp"
#include "transfer/pump.hpp"
#include "transfer/sparse_stream.hpp"
#include "transfer/transfer_operation.hpp"
#include "transfer/volume.hpp"

#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <utility>

namespace avirt::detail {
namespace {

/// A download, while it is under way.
class download
{
public:
    download(
        transfer_volume volume, std::filesystem::path path, const transfer_options& options,
        transfer_meter& meter, file_writer& file)
        : volume_(std::move(volume)),
          path_(std::move(path)),
          options_(options),
          meter_(meter),
          file_(file)
    {
    }

    asio::awaitable<failure> run()
    {
        const volume_info_call ask(volume_.where);
        const auto info = co_await call_on(volume_.connection, ask);
        auto f = info.error;
        if (!f)
            f = co_await open_file(info.value.physical);
        if (!f && (file_.found() == 0 || file_.found() < size_))
            f = co_await receive();
        if (!f)
            f = co_await file_.flush();
        if (!f && options_.verify)
            f = co_await verify_file();
        if (!f)
            f = co_await file_.complete();
        co_return f;
    }

private:
    asio::awaitable<failure> open_file(std::uint64_t size_of_volume)
    {
        size_ = size_of_volume - std::min(size_of_volume, options_.offset);
        if (options_.length > 0)
            size_ = std::min(size_, options_.length);
        meter_.expect(size_);
        auto f = co_await file_.open();
        if (!f && file_.found() > size_)
            f = co_await file_.restart();
        if (!f)
            meter_.count(file_.found());
        co_return f;
    }

    asio::awaitable<failure> receive()
    {
        own_stream stream(co_await asio::this_coro::executor);
        const auto found = file_.found();
        volume_download open(
            volume_.where, options_.offset + found, options_.length > 0 ? options_.length - found : 0);
        open.sparse = options_.sparse;
        if (auto f = co_await stream.open(volume_.connection, open))
            co_return f;
        const auto find_zeros = [this] {
            if (options_.sparse)
                file_.find_zeros();
        };
        {
            sparse_source source(stream.impl(), find_zeros);
            if (auto f = co_await pump(source, file_, meter_, options_.sparse))
                co_return f;
        }
        co_return co_await stream.finish();
    }

    asio::awaitable<failure> verify_file()
    {
        const auto executor = co_await asio::this_coro::executor;
        auto received = file_.duplicate();
        if (!received)
            co_return file_failure("cannot read '" + path_.string() + "' to verify it");
        file_reader file(executor, path_, std::move(received), file_reader::holes::of_file_system);
        auto f = co_await file.open();
        if (!f)
            f = co_await verify(file, path_, volume_, options_.offset, file.size(), meter_);
        if (f.code == error::verification_failed)
            co_await file_.spoil();
        co_return f;
    }

    const transfer_volume volume_;
    const std::filesystem::path path_;
    const transfer_options& options_;
    transfer_meter& meter_;
    file_writer& file_;
    std::uint64_t size_ = 0;
};

asio::awaitable<failure> perform_download(
    transfer_volume volume, std::filesystem::path path, transfer_options options, transfer_meter& meter)
{
    const auto executor = co_await asio::this_coro::executor;
    file_writer file(executor, path, options.resume);
    failure result;
    try {
        download d(std::move(volume), std::move(path), options, meter, file);
        result = co_await d.run();
    }
    catch (...) {
        result = current_failure();
    }
    co_await file.close();
    co_return result;
}

} // namespace

void async_download(
    std::shared_ptr<connection_impl> connection, volume_locator from, std::filesystem::path to,
    transfer_options options, const transfer_executors& executors, transfer_handler handler,
    error_details* details)
{
    const transfer_volume volume{std::move(connection), std::move(from)};
    const auto transfer = [volume, path = std::move(to), options](transfer_meter& meter) {
        return perform_download(volume, path, options, meter);
    };
    launch_transfer(executors, options, std::move(handler), details, transfer);
}

} // namespace avirt::detail
