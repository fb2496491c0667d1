// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/async_result.hpp>

#include <type_traits>
#include <utility>

// The common parts of the token adapters with_details() and cancel_after().

namespace avirt::detail {

/// Forwards a token that will be stored: an rvalue as such, an lvalue as const. Asio's as_tuple_t would adapt
/// a non-const lvalue of its own type instead of copying it.
template <class Token>
constexpr decltype(auto) forward_token(std::remove_reference_t<Token>& token) noexcept
{
    if constexpr (std::is_lvalue_reference_v<Token>)
        return static_cast<std::add_const_t<std::remove_reference_t<Token>>&>(token);
    else
        return std::move(token);
}

/// An adapter of a token of type Token.
template <class Token>
class adapter
{
public:
    /// Launches an operation with the adapted token: with a copy of it if the adapter is an lvalue.
    template <class... Signatures, class Initiation, class... Args>
    auto launch(Initiation&& initiation, Args&&... args) && -> decltype(asio::async_initiate<
                                                                        Token, Signatures...>(
        std::forward<Initiation>(initiation), std::declval<Token&>(), std::forward<Args>(args)...))
    {
        return asio::async_initiate<Token, Signatures...>(
            std::forward<Initiation>(initiation), token_, std::forward<Args>(args)...);
    }

    template <class... Signatures, class Initiation, class... Args>
    auto launch(Initiation&& initiation, Args&&... args)
        const& -> decltype(asio::async_initiate<Token, Signatures...>(
            std::forward<Initiation>(initiation), std::declval<Token&>(), std::forward<Args>(args)...))
    {
        Token copy(token_);
        return asio::async_initiate<Token, Signatures...>(
            std::forward<Initiation>(initiation), copy, std::forward<Args>(args)...);
    }

protected:
    explicit adapter(Token token) : token_(std::move(token)) {}

private:
    Token token_;
};

/// The base of an adapter's async_result. In Boost 1.81 and 1.82 Asio's own adapters declare a function that
/// returns the return_type of the token that they adapt. A token without one, such as deferred, needs only
/// some type there, because the adapters do not call that function if there is an initiate().
template <class AdaptedResult>
struct adapter_result
{
    using return_type = void;
};

template <class AdaptedResult>
requires requires
{
    typename AdaptedResult::return_type;
}
struct adapter_result<AdaptedResult>
{
    using return_type = typename AdaptedResult::return_type;
};

template <class Initiation>
concept tells_executor = requires(const Initiation& initiation)
{
    typename Initiation::executor_type;
    initiation.get_executor();
};

/// Calls an initiation. Some of Beast's initiations take a std::size_t and are passed an int, about which
/// Clang warns at this forwarding.
template <class Initiation, class Handler, class... Args>
void call_initiation(Initiation&& initiation, Handler&& handler, Args&&... args)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
    std::forward<Initiation>(initiation)(std::forward<Handler>(handler), std::forward<Args>(args)...);
#pragma GCC diagnostic pop
}

/// The base of an adapter's initiation: contains the operation's own initiation, and has the same executor if
/// that has one.
template <class Initiation>
class adapter_initiation
{
public:
    explicit adapter_initiation(Initiation initiation) : initiation_(std::move(initiation)) {}

    Initiation initiation_; // public, as in Asio's adapters before Boost 1.86: cancel_after() looks for it
};

template <tells_executor Initiation>
class adapter_initiation<Initiation>
{
public:
    using executor_type = typename Initiation::executor_type;

    explicit adapter_initiation(Initiation initiation) : initiation_(std::move(initiation)) {}

    executor_type get_executor() const noexcept
    {
        return initiation_.get_executor();
    }

    Initiation initiation_;
};

} // namespace avirt::detail
