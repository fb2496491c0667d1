// SPDX-License-Identifier: BSL-1.0
#include <avirt/picture.hpp>

#include "core/coroutine_operation.hpp"
#include "stream/own_stream.hpp"
#include "stream/take_screenshot.hpp"
#include "transfer/pump.hpp"
#include "transfer/sparse_stream.hpp"

#include <boost/asio/buffer.hpp>

#include <tuple>
#include <utility>

namespace avirt::detail {
namespace {

using operation = coroutine_operation<picture>;

/// The opener screenshot, which keeps the MIME type. The type is shared, because an opener that is cancelled
/// may still run when the operation is over.
class typed_screenshot
{
public:
    explicit typed_screenshot(screenshot what) : what_(std::move(what)) {}

    int operator()(virConnectPtr connection, virStreamPtr stream) const
    {
        *mime_type_ = take_screenshot(what_, connection, stream);
        return 0;
    }

    /// Called when the opener has returned.
    std::string take_mime_type() const
    {
        return std::move(*mime_type_);
    }

private:
    const screenshot what_;
    const std::shared_ptr<std::string> mime_type_ = std::make_shared<std::string>();
};

asio::awaitable<failure> take_picture(
    std::shared_ptr<operation> self, std::shared_ptr<connection_impl> connection, screenshot what)
{
    own_stream stream(self->strand());
    const typed_screenshot open(std::move(what));
    auto f = co_await stream.open(std::move(connection), open);
    if (f)
        co_return f;
    picture result;
    const auto bytes = asio::dynamic_buffer(result.bytes);
    using consumer = dynamic_buffer_consumer<std::decay_t<decltype(bytes)>>;
    transfer_meter meter{transfer_options()};
    sparse_source source(stream.impl());
    const auto sink = make_sink(std::make_unique<consumer>(bytes));
    f = co_await pump(source, *sink, meter, false);
    if (!f)
        f = co_await stream.finish();
    if (f)
        co_return f;
    result.mime_type = open.take_mime_type();
    std::get<0>(self->values) = std::move(result);
    co_return f;
}

} // namespace

void async_screenshot(
    std::shared_ptr<connection_impl> connection, screenshot what, const transfer_executors& executors,
    picture_handler handler, error_details* details)
{
    const auto self = std::make_shared<operation>(executors.handlers);
    self->launch(
        self, std::move(handler), executors.io, details,
        [c = std::move(connection), s = std::move(what)](std::shared_ptr<operation> o) {
            return take_picture(std::move(o), c, s);
        });
}

} // namespace avirt::detail
