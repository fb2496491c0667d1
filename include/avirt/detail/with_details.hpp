// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/handler_adapter.hpp>
#include <avirt/detail/token_adapter.hpp>
#include <avirt/error.hpp>

#include <boost/asio/associator.hpp>
#include <boost/asio/async_result.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt::detail {

/// The place for the details of a failure of the operation that completes with a handler of type T. It is
/// associated with the handler in the way of Asio's associators, so that it is also found through Asio's own
/// composed operations.
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

/// Beast's composed operations have no associator, but handler() returns the handler in which they end.
template <class T>
concept ends_in_handler = !handler_adapter<T> && requires(const T& operation)
{
    typename T::executor_type;
    operation.handler();
};

template <ends_in_handler T, class Default>
struct associated_details_impl<T, Default, void>
{
    using type = Default;

    static type get(const T& operation, const Default& fallback) noexcept
    {
        using handler = std::decay_t<decltype(operation.handler())>;
        return associated_details<handler, Default>::get(operation.handler(), fallback);
    }
};

template <class Handler>
error_details* get_associated_details(const Handler& handler) noexcept
{
    return associated_details<Handler>::get(handler, nullptr);
}

/// Whether the first of a handler's arguments is an error_code.
template <class... Args>
inline constexpr bool reports_error = false;

template <class First, class... Rest>
inline constexpr bool reports_error<First, Rest...> = std::convertible_to<First, error_code>;

template <class Handler>
class filling_handler
{
public:
    using adapted_handler_type = Handler;

    filling_handler(Handler h, error_details* details) : handler_(std::move(h)), details_(details) {}

    template <class... Args>
    void operator()(Args&&... args)
    {
        std::move(handler_)(std::forward<Args>(args)...);
    }

    const Handler& handler() const noexcept
    {
        return handler_;
    }

    error_details* details() const noexcept
    {
        return details_;
    }

private:
    Handler handler_;
    error_details* details_;
};

template <class Handler>
class throwing_handler
{
public:
    using adapted_handler_type = Handler;

    explicit throwing_handler(Handler h) : handler_(std::move(h)) {}

    template <class... Args>
    requires reports_error<Args...>
    void operator()(Args&&... args)
    {
        complete(std::forward<Args>(args)...);
    }

    // An adapter around this one (as_tuple, redirect_error) has taken the error_code: there is nothing to
    // throw.
    template <class... Args>
    void operator()(Args&&... args)
    {
        std::move(handler_)(std::forward<Args>(args)...);
    }

    const Handler& handler() const noexcept
    {
        return handler_;
    }

    error_details* details() const noexcept
    {
        return details_.get();
    }

private:
    template <class... Args>
    void complete(const error_code& ec, Args&&... args)
    {
        auto failure = ec ? std::make_exception_ptr(exception(ec, std::move(*details_))) : nullptr;
        std::move(handler_)(std::move(failure), std::forward<Args>(args)...);
    }

    Handler handler_;
    std::unique_ptr<error_details> details_ = std::make_unique<error_details>();
};

// The tokens are not aggregates: GCC before 13 destroys the members of an aggregate twice if it is a
// temporary of a co_await expression.

template <class Token>
class filling_token : public adapter<Token>
{
public:
    filling_token(Token token, error_details& details) : adapter<Token>(std::move(token)), details_(&details)
    {
    }

    error_details* details() const noexcept
    {
        return details_;
    }

private:
    error_details* details_;
};

template <class Token>
class throwing_token : public adapter<Token>
{
public:
    explicit throwing_token(Token token) : adapter<Token>(std::move(token)) {}
};

template <class Initiation>
class filling_initiation : public adapter_initiation<Initiation>
{
public:
    filling_initiation(Initiation initiation, error_details* details)
        : adapter_initiation<Initiation>(std::move(initiation)),
          details_(details)
    {
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) &&
    {
        call_initiation(
            std::move(this->initiation_),
            filling_handler<std::decay_t<Handler>>(std::forward<Handler>(handler), details_),
            std::forward<Args>(args)...);
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const&
    {
        call_initiation(
            this->initiation_,
            filling_handler<std::decay_t<Handler>>(std::forward<Handler>(handler), details_),
            std::forward<Args>(args)...);
    }

private:
    error_details* details_;
};

template <class Initiation>
class throwing_initiation : public adapter_initiation<Initiation>
{
public:
    using adapter_initiation<Initiation>::adapter_initiation;

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) &&
    {
        call_initiation(
            std::move(this->initiation_),
            throwing_handler<std::decay_t<Handler>>(std::forward<Handler>(handler)),
            std::forward<Args>(args)...);
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const&
    {
        call_initiation(
            this->initiation_, throwing_handler<std::decay_t<Handler>>(std::forward<Handler>(handler)),
            std::forward<Args>(args)...);
    }
};

template <class Signature>
struct throwing_signature
{
    using type = Signature;
};

template <class First, class... Rest>
requires std::same_as<std::decay_t<First>, error_code>
struct throwing_signature<void(First, Rest...)>
{
    using type = void(std::exception_ptr, Rest...);
};

template <class Signature>
using throwing_signature_t = typename throwing_signature<Signature>::type;

} // namespace avirt::detail

template <class Handler, class Default>
struct avirt::detail::associated_details<avirt::detail::filling_handler<Handler>, Default>
{
    using type = error_details*;

    static type get(const filling_handler<Handler>& h, const Default& = {}) noexcept
    {
        return h.details();
    }
};

template <class Handler, class Default>
struct avirt::detail::associated_details<avirt::detail::throwing_handler<Handler>, Default>
{
    using type = error_details*;

    static type get(const throwing_handler<Handler>& h, const Default& = {}) noexcept
    {
        return h.details();
    }
};

template <class Token, class... Signatures>
struct boost::asio::async_result<avirt::detail::filling_token<Token>, Signatures...>
    : avirt::detail::adapter_result<async_result<Token, Signatures...>>
{
    template <class Initiation, class Adapter, class... Args>
    static auto initiate(Initiation&& initiation, Adapter&& adapter, Args&&... args)
        -> decltype(avirt::detail::forward_token<Adapter>(adapter).template launch<Signatures...>(
            std::declval<avirt::detail::filling_initiation<std::decay_t<Initiation>>>(),
            std::forward<Args>(args)...))
    {
        avirt::detail::filling_initiation<std::decay_t<Initiation>> filling(
            std::forward<Initiation>(initiation), adapter.details());
        return avirt::detail::forward_token<Adapter>(adapter).template launch<Signatures...>(
            std::move(filling), std::forward<Args>(args)...);
    }
};

template <class Token, class... Signatures>
struct boost::asio::async_result<avirt::detail::throwing_token<Token>, Signatures...>
    : avirt::detail::adapter_result<async_result<Token, avirt::detail::throwing_signature_t<Signatures>...>>
{
    template <class Initiation, class Adapter, class... Args>
    static auto initiate(Initiation&& initiation, Adapter&& adapter, Args&&... args)
        -> decltype(avirt::detail::forward_token<Adapter>(adapter)
                        .template launch<avirt::detail::throwing_signature_t<Signatures>...>(
                            std::declval<avirt::detail::throwing_initiation<std::decay_t<Initiation>>>(),
                            std::forward<Args>(args)...))
    {
        avirt::detail::throwing_initiation<std::decay_t<Initiation>> throwing(
            std::forward<Initiation>(initiation));
        return avirt::detail::forward_token<Adapter>(adapter)
            .template launch<avirt::detail::throwing_signature_t<Signatures>...>(
                std::move(throwing), std::forward<Args>(args)...);
    }
};
