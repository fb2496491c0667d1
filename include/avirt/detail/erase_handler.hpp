// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/handler_adapter.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_executor.hpp>

#include <type_traits>
#include <utility>

namespace avirt::detail {

/// A handler that may hide its associated executor.
template <class Handler>
class erasable_handler
{
public:
    using adapted_handler_type = Handler;

    erasable_handler(Handler adapted, bool hides) : handler_(std::move(adapted)), hides_executor_(hides) {}

    const Handler& handler() const noexcept
    {
        return handler_;
    }

    bool hides_executor() const noexcept
    {
        return hides_executor_;
    }

    template <class... Args>
    void operator()(Args&&... args)
    {
        std::move(handler_)(std::forward<Args>(args)...);
    }

private:
    Handler handler_;
    bool hides_executor_;
};

/// Erases the type of a handler. If its associated executor is the I/O executor, the erased handler has none:
/// an any_io_executor inside an any_completion_executor takes memory, for each copy, and says nothing new.
template <class Signature, class Handler, class IoExecutor>
asio::any_completion_handler<Signature> erase_handler(Handler&& handler, const IoExecutor& io_executor)
{
    using handler_type = std::decay_t<Handler>;
    if constexpr (std::is_same_v<asio::associated_executor_t<handler_type, IoExecutor>, IoExecutor>) {
        const bool hides = asio::get_associated_executor(handler, io_executor) == io_executor;
        return erasable_handler<handler_type>(std::forward<Handler>(handler), hides);
    }
    else {
        return asio::any_completion_handler<Signature>(std::forward<Handler>(handler));
    }
}

} // namespace avirt::detail

template <class Handler>
struct boost::asio::associated_executor<
    avirt::detail::erasable_handler<Handler>, boost::asio::any_completion_executor>
{
    using type = any_completion_executor;

    static type get(const avirt::detail::erasable_handler<Handler>& h, const type& fallback) noexcept
    {
        if (h.hides_executor())
            return fallback;
        return type(associated_executor<Handler, type>::get(h.handler(), fallback));
    }
};
