// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/async_result.hpp>

#include <string_view>
#include <type_traits>
#include <utility>

namespace avirt::detail {

// Before version 13 GCC copies an aggregate or a closure bytewise into the coroutine's frame if it is a
// temporary of a co_await expression, and destroys both: GCC bugs 99576, 100611 and 102217. A class that has
// a constructor is safe, and so is a type with a trivial destructor.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13 && !defined(AVIRT_ALLOW_TEMPORARY_CLOSURES)

template <class T>
constexpr bool is_closure() noexcept
{
    // No other type without a default constructor and assignment has such a name.
    return !std::is_default_constructible_v<
               T> && !std::is_move_assignable_v<T> && std::string_view(__PRETTY_FUNCTION__).find("<lambda") != std::string_view::npos;
}

template <class T>
inline constexpr bool is_fragile_temporary =
    std::is_class_v<T> && !std::is_trivially_destructible_v<T> && (std::is_aggregate_v<T> || is_closure<T>());

#else

template <class T>
inline constexpr bool is_fragile_temporary = false;

#endif

template <class T>
concept has_co_await = requires(T&& t)
{
    std::forward<T>(t).await_ready();
}
|| requires(T&& t)
{
    std::forward<T>(t).operator co_await();
}
|| requires(T&& t)
{
    operator co_await(std::forward<T>(t));
};

/// Whether a T that an initiating function returns is meant to be awaited by a coroutine.
template <class T>
inline constexpr bool is_awaitable = has_co_await<T> || asio::is_async_operation<T>::value;

template <>
inline constexpr bool is_awaitable<void> = false;

/// Initiates an operation that takes a function of the application.
template <class Token, class Signature, class Initiation, class Function>
auto initiate_with_function(Initiation initiation, Token& token, Function&& function)
{
    using kept = std::decay_t<Function>;
    using result = decltype(asio::async_initiate<Token, Signature>(
        std::move(initiation), token, kept(std::forward<Function>(function))));
    constexpr bool is_temporary = !std::is_lvalue_reference_v<Function>;
    constexpr bool is_destroyed_twice = is_temporary && is_fragile_temporary<kept> && is_awaitable<result>;
    static_assert(
        !is_destroyed_twice,
        "GCC 12 destroys this temporary twice if it stands in a co_await expression: give it a name "
        "before, and pass that (std::move(name) looks like a temporary), or pass avirt::calling(f, args...)");
    return asio::async_initiate<Token, Signature>(
        std::move(initiation), token, kept(std::forward<Function>(function)));
}

} // namespace avirt::detail
