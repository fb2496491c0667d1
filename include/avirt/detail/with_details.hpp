// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

#include <boost/asio/associator.hpp>
#include <boost/asio/async_result.hpp>

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt {
namespace detail {

/// Where the operation that ends in a handler of type T leaves the details of its failure: an associated
/// object as Asio knows them, so that it is found through Asio's own composed operations too.
template <class T, class Default = error_details*, class = void>
struct associated_details_impl
{
    using type = Default;

    static type get(const T&, const Default& fallback) noexcept
    {
        return fallback;
    }
};

template <class T, class Default = error_details*>
struct associated_details : associated_details_impl<T, Default>
{
};

template <class T, class Default>
struct associated_details_impl<
    T, Default, std::void_t<typename asio::associator<associated_details, T, Default>::type>>
    : asio::associator<associated_details, T, Default>
{
};

template <class Handler>
error_details* get_associated_details(const Handler& handler) noexcept
{
    return associated_details<Handler>::get(handler, nullptr);
}

template <class Handler>
struct filling_handler
{
    Handler handler;
    error_details* details;

    template <class... Args>
    void operator()(Args&&... args)
    {
        std::move(handler)(std::forward<Args>(args)...);
    }
};

template <class Token>
struct filling_token
{
    Token token;
    error_details* details;
};

template <class Handler>
struct throwing_handler
{
    Handler handler;
    std::unique_ptr<error_details> details = std::make_unique<error_details>();

    template <class... Args>
    void operator()(error_code ec, Args&&... args)
    {
        auto failure = ec ? std::make_exception_ptr(exception(ec, std::move(*details))) : nullptr;
        std::move(handler)(std::move(failure), std::forward<Args>(args)...);
    }
};

template <class Token>
struct throwing_token
{
    Token token;
};

/// Keeps an initiation launchable by deferred, and its executor known to Asio's adapters.
template <class Initiation, class Executor = void>
struct adapted_initiation_base
{
    Initiation initiation;
};

template <class Initiation>
struct adapted_initiation_base<Initiation, std::void_t<typename Initiation::executor_type>>
{
    using executor_type = typename Initiation::executor_type;

    executor_type get_executor() const noexcept
    {
        return initiation.get_executor();
    }

    Initiation initiation;
};

template <class Initiation>
struct filling_initiation : adapted_initiation_base<Initiation>
{
    template <class Handler, class... Args>
    void operator()(Handler&& handler, error_details* details, Args&&... args)
    {
        std::move(this->initiation)(
            filling_handler<std::decay_t<Handler>>{std::forward<Handler>(handler), details},
            std::forward<Args>(args)...);
    }
};

template <class Initiation>
struct throwing_initiation : adapted_initiation_base<Initiation>
{
    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args)
    {
        std::move(this->initiation)(
            throwing_handler<std::decay_t<Handler>>{std::forward<Handler>(handler)},
            std::forward<Args>(args)...);
    }
};

template <class Signature>
struct throwing_signature;

template <class... Args>
struct throwing_signature<void(error_code, Args...)>
{
    using type = void(std::exception_ptr, Args...);
};

} // namespace detail

/// A completion token that fills @p details when the operation fails, and completes as @p token does.
///
/// @p details must live until the completion handler is invoked; it is left alone on success. It works
/// through Asio's composed operations too.
///
/// @code
/// avirt::error_details why;
/// conn.async_open("qemu:///system", avirt::with_details([&](boost::system::error_code ec) {
///     if (ec)
///         std::cerr << why.message << '\n';
/// }, why));
/// @endcode
template <class Token>
auto with_details(Token&& token, error_details& details)
{
    return detail::filling_token<std::decay_t<Token>>{std::forward<Token>(token), &details};
}

/// A completion token for tokens that throw (use_awaitable, use_future): they throw avirt::exception,
/// whose what() and details() tell libvirt's own sentence.
///
/// @code
/// co_await conn.async_open(uri, avirt::with_details(asio::use_awaitable));
/// @endcode
template <class Token>
auto with_details(Token&& token)
{
    return detail::throwing_token<std::decay_t<Token>>{std::forward<Token>(token)};
}

} // namespace avirt

template <template <class, class> class Associator, class Handler, class Default>
struct boost::asio::associator<Associator, avirt::detail::filling_handler<Handler>, Default>
    : Associator<Handler, Default>
{
    static auto get(const avirt::detail::filling_handler<Handler>& h) noexcept
    {
        return Associator<Handler, Default>::get(h.handler);
    }

    static auto get(const avirt::detail::filling_handler<Handler>& h, const Default& d) noexcept
    {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};

template <template <class, class> class Associator, class Handler, class Default>
struct boost::asio::associator<Associator, avirt::detail::throwing_handler<Handler>, Default>
    : Associator<Handler, Default>
{
    static auto get(const avirt::detail::throwing_handler<Handler>& h) noexcept
    {
        return Associator<Handler, Default>::get(h.handler);
    }

    static auto get(const avirt::detail::throwing_handler<Handler>& h, const Default& d) noexcept
    {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};

template <class Handler, class Default>
struct avirt::detail::associated_details<avirt::detail::filling_handler<Handler>, Default>
{
    using type = error_details*;

    static type get(const filling_handler<Handler>& h, const Default& = {}) noexcept
    {
        return h.details;
    }
};

template <class Handler, class Default>
struct avirt::detail::associated_details<avirt::detail::throwing_handler<Handler>, Default>
{
    using type = error_details*;

    static type get(const throwing_handler<Handler>& h, const Default& = {}) noexcept
    {
        return h.details.get();
    }
};

template <class Token, class Signature>
struct boost::asio::async_result<avirt::detail::filling_token<Token>, Signature>
{
    template <class Initiation, class RawToken, class... Args>
    static auto initiate(Initiation&& initiation, RawToken&& token, Args&&... args)
    {
        return async_initiate<Token, Signature>(
            avirt::detail::filling_initiation<std::decay_t<Initiation>>{
                {std::forward<Initiation>(initiation)}},
            token.token, token.details, std::forward<Args>(args)...);
    }
};

template <class Token, class Signature>
struct boost::asio::async_result<avirt::detail::throwing_token<Token>, Signature>
{
    template <class Initiation, class RawToken, class... Args>
    static auto initiate(Initiation&& initiation, RawToken&& token, Args&&... args)
    {
        using signature = typename avirt::detail::throwing_signature<Signature>::type;
        return async_initiate<Token, signature>(
            avirt::detail::throwing_initiation<std::decay_t<Initiation>>{
                {std::forward<Initiation>(initiation)}},
            token.token, std::forward<Args>(args)...);
    }
};
