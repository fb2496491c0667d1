// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/append.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#if BOOST_ASIO_VERSION >= 102800
#include <boost/asio/associated_immediate_executor.hpp>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

namespace avirt::detail {

using wait_handler = asio::any_completion_handler<void(error_code)>;
using io_handler = asio::any_completion_handler<void(error_code, std::size_t)>;
using hole_handler = asio::any_completion_handler<void(error_code, std::uint64_t)>;

/// Completes an operation inside its initiating function: on the handler's associated immediate executor if
/// it has one (and this Asio knows immediate executors), as if by post otherwise. The handler must not be
/// erased yet, because not every Asio's erased handlers carry that executor.
template <class Handler, class Executor, class... Args>
void complete_immediately(Handler&& handler, const Executor& io_executor, Args... args)
{
#if BOOST_ASIO_VERSION >= 102800
    auto executor = asio::get_associated_immediate_executor(handler, io_executor);
    asio::dispatch(executor, asio::append(std::forward<Handler>(handler), std::move(args)...));
#else
    asio::post(io_executor, asio::append(std::forward<Handler>(handler), std::move(args)...));
#endif
}

} // namespace avirt::detail
