// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/await_operation.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>

namespace avirt::detail {

/// A stream that a coroutine of avirt uses. The destructor closes it.
class own_stream
{
public:
    explicit own_stream(const asio::any_io_executor& executor) : impl_(stream_impl::make(executor)) {}
    own_stream(const own_stream&) = delete;
    own_stream& operator=(const own_stream&) = delete;

    ~own_stream()
    {
        impl_->close();
    }

    template <class Opener>
    asio::awaitable<failure> open(std::shared_ptr<connection_impl> connection, Opener function)
    {
        return open_erased(std::move(connection), std::make_shared<opener<Opener>>(std::move(function)));
    }

    asio::awaitable<failure> open_erased(
        std::shared_ptr<connection_impl> connection, std::shared_ptr<opener_base> opener)
    {
        failure f;
        std::tie(f.code) = co_await await_operation<void(error_code)>([&](auto handler) {
            impl_->async_open(*connection, false, opener, wait_handler(std::move(handler)), &f.details);
        });
        co_return f;
    }

    asio::awaitable<outcome<std::size_t>> read_some(mutable_buffer_list buffers)
    {
        outcome<std::size_t> result;
        std::tie(result.error.code, result.value) =
            co_await await_operation<void(error_code, std::size_t)>([&](auto handler) {
                impl_->async_read(buffers, io_handler(std::move(handler)), &result.error.details);
            });
        co_return result;
    }

    asio::awaitable<failure> finish()
    {
        failure f;
        std::tie(f.code) = co_await await_operation<void(error_code)>(
            [&](auto handler) { impl_->async_finish(wait_handler(std::move(handler)), &f.details); });
        co_return f;
    }

    const std::shared_ptr<stream_impl>& impl() const noexcept
    {
        return impl_;
    }

private:
    const std::shared_ptr<stream_impl> impl_;
};

} // namespace avirt::detail
