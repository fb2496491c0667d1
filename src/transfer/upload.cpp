// SPDX-License-Identifier: BSL-1.0
#include <avirt/volume_transfer.hpp>

#include "connection/coroutines.hpp"
#include "stream/own_stream.hpp"
#include "transfer/file_failure.hpp"
#include "transfer/file_reader.hpp"
#include "transfer/pump.hpp"
#include "transfer/sparse_stream.hpp"
#include "transfer/transfer_operation.hpp"
#include "transfer/volume.hpp"

#include <boost/asio/this_coro.hpp>
#include <libvirt/libvirt.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

namespace avirt::detail {
namespace {

/// An upload, while it is under way.
class upload
{
public:
    upload(
        const asio::any_io_executor& executor, std::filesystem::path path, transfer_volume volume,
        const transfer_options& options, transfer_meter& meter)
        : volume_(std::move(volume)),
          path_(std::move(path)),
          options_(options),
          meter_(meter),
          file_(executor, path_, options.sparse ? file_reader::holes::zeros : file_reader::holes::none)
    {
    }

    asio::awaitable<failure> run()
    {
        auto f = co_await file_.open();
        if (!f)
            f = co_await ask_volume();
        if (!f && options_.resume)
            f = co_await find_place();
        if (!f && begin_ < size_)
            f = co_await send();
        if (!f && options_.verify)
            f = co_await verify(file_, path_, volume_, options_.offset, size_, meter_);
        co_return f;
    }

private:
    asio::awaitable<failure> ask_volume()
    {
        size_ = options_.length > 0 ? std::min(options_.length, file_.size()) : file_.size();
        meter_.expect(size_);
        const volume_info_call ask(volume_.where);
        const auto info = co_await call_on(volume_.connection, ask);
        if (info.error)
            co_return info.error;
        // The file of a volume whose format has a capacity of its own may be larger than that.
        space_ = std::max(info.value.capacity, info.value.physical);
        const bool fits = options_.offset <= space_ && size_ <= space_ - options_.offset;
        // An upload that is interrupted may leave the file of the volume shorter than it was.
        const bool may_be_shorter = options_.resume && info.value.type == VIR_STORAGE_VOL_FILE;
        if (!fits && !may_be_shorter)
            co_return too_large();
        if (info.value.allocation == 0)
            last_hole_ = 0;
        co_return failure();
    }

    failure too_large() const
    {
        auto text = "cannot upload the " + std::to_string(size_) + " bytes of '" + path_.string()
            + "' into the volume '" + volume_.name() + "' of " + std::to_string(space_) + " bytes";
        if (options_.offset > 0)
            text += " at offset " + std::to_string(options_.offset);
        return file_failure(std::move(text), ENOSPC);
    }

    /// Finds out what an earlier upload has left to do.
    asio::awaitable<failure> find_place()
    {
        if (options_.offset >= space_) // Nothing of it is there.
            co_return failure();
        const auto found = co_await compare(file_, volume_, options_.offset, size_, meter_);
        if (found.error)
            co_return found.error;
        begin_ = found.equal();
        if (!last_hole_)
            last_hole_ = found.last_hole;
        meter_.count(found.bytes);
        meter_.count_hole(found.hole_bytes);
        co_return failure();
    }

    asio::awaitable<failure> send()
    {
        // A hole keeps the data that is in its place, but cuts off the file of the volume behind it. So holes
        // are sent only if there is no data up to the end, and then the file is extended to its old size.
        // After an interruption nothing would know that size: an upload that may be resumed sends holes only
        // if it goes up to the end of the volume.
        const auto end = options_.offset + size_;
        const auto behind = space_ > end ? space_ - end : 0;
        const bool sends_holes =
            options_.sparse && last_hole_ && *last_hole_ < size_ && !(options_.resume && behind > 0);
        const auto dense_end = sends_holes ? std::max(*last_hole_, begin_) : size_;
        const auto rest = sends_holes ? behind : 0;
        own_stream stream(co_await asio::this_coro::executor);
        volume_upload open(volume_.where, options_.offset + begin_, size_ - begin_ + rest);
        open.sparse = sends_holes;
        if (auto f = co_await stream.open(volume_.connection, open))
            co_return f;
        sparse_sink sink(stream.impl());
        auto f = co_await send(sink, begin_, dense_end, false);
        if (!f)
            f = co_await send(sink, dense_end, size_, true);
        if (!f && rest > 0)
            f = sink.skip(rest);
        if (!f)
            f = co_await stream.finish();
        co_return f;
    }

    asio::awaitable<failure> send(
        transfer_sink& sink, std::uint64_t begin, std::uint64_t end, bool passes_holes)
    {
        if (begin == end)
            co_return failure();
        if (auto f = co_await file_.start(begin, end))
            co_return f;
        co_return co_await pump(file_, sink, meter_, passes_holes);
    }

    const transfer_volume volume_;
    const std::filesystem::path path_;
    const transfer_options& options_;
    transfer_meter& meter_;
    file_reader file_;
    std::uint64_t size_ = 0;
    std::uint64_t space_ = 0;                  // the size of the volume
    std::uint64_t begin_ = 0;                  // What comes before is in the volume already.
    std::optional<std::uint64_t> last_hole_{}; // From here on, the volume has no data.
};

asio::awaitable<failure> perform_upload(
    std::filesystem::path path, transfer_volume volume, transfer_options options, transfer_meter& meter)
{
    const auto executor = co_await asio::this_coro::executor;
    upload u(executor, std::move(path), std::move(volume), options, meter);
    co_return co_await u.run();
}

} // namespace

void async_upload(
    std::shared_ptr<connection_impl> connection, std::filesystem::path from, volume_locator to,
    transfer_options options, const transfer_executors& executors, transfer_handler handler,
    error_details* details)
{
    const transfer_volume volume{std::move(connection), std::move(to)};
    const auto transfer = [volume, path = std::move(from), options](transfer_meter& meter) {
        return perform_upload(path, volume, options, meter);
    };
    launch_transfer(executors, options, std::move(handler), details, transfer);
}

} // namespace avirt::detail
