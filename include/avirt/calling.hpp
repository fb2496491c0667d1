// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/temporary.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace avirt {
namespace detail {

/// What calling keeps of an argument: texts as texts of its own, everything else as a copy.
template <class Arg>
struct kept_argument
{
    using type = Arg;
};

template <class Arg>
requires std::is_convertible_v<Arg, std::string_view> &&(
    !std::is_same_v<Arg, std::string>)struct kept_argument<Arg>
{
    using type = std::string;
};

// A null pointer is an argument too.
template <class Char>
requires std::is_same_v<Char, char> || std::is_same_v<Char, const char>
struct kept_argument<Char*>
{
    using type = std::optional<std::string>;
};

template <class Arg>
using kept_argument_t = typename kept_argument<std::decay_t<Arg>>::type;

template <class Kept, class Arg>
Kept keep_argument(Arg&& arg)
{
    if constexpr (std::is_same_v<Kept, std::optional<std::string>>)
        return arg ? Kept(arg) : Kept();
    else
        return Kept(std::forward<Arg>(arg));
}

template <class Kept>
Kept&& pass_argument(Kept& kept) noexcept
{
    return std::move(kept);
}

inline const char* pass_argument(std::string& text) noexcept
{
    return text.c_str();
}

inline const char* pass_argument(std::optional<std::string>& text) noexcept
{
    return text ? text->c_str() : nullptr;
}

template <class Kept>
using passed_argument = decltype(pass_argument(std::declval<Kept&>()));

} // namespace detail

/// A function together with its further arguments, to be given to basic_connection::async_call() or
/// basic_async_stream::async_open(): calls `f(connection, args...)` or `f(connection, stream, args...)`.
///
/// It takes the place of a closure in a coroutine: GCC 12 does not compile a closure correctly that is a
/// temporary of a co_await expression and holds a std::string, say.
///
/// The arguments are kept as copies and passed as rvalues; a function is therefore called once. A text
/// (std::string, std::string_view, const char*) is copied, and arrives as a `const char*`, as libvirt's
/// functions want it.
///
/// Thread safety: distinct objects: safe. Shared objects: unsafe.
///
/// @code
/// avirt::domain vm = co_await conn.async_call(avirt::calling(virDomainLookupByName, name));
/// co_await conn.async_call(avirt::calling([](virConnectPtr c, const char* xml, unsigned flags) {
///     return virDomainCreateXML(c, xml, flags);
/// }, xml, VIR_DOMAIN_START_PAUSED));
/// @endcode
template <class F, class... Args>
class calling
{
public:
    template <class... Given>
    requires(sizeof...(Given) == sizeof...(Args)) explicit calling(F f, Given&&... given)
        : function_(std::move(f)),
          arguments_(detail::keep_argument<Args>(std::forward<Given>(given))...)
    {
    }

    template <class... Leading>
    requires std::is_invocable_v<F&, Leading..., detail::passed_argument<Args>...>
    decltype(auto) operator()(Leading... leading)
    {
        return std::apply(
            [&](Args&... kept) -> decltype(auto) {
                return std::invoke(function_, leading..., detail::pass_argument(kept)...);
            },
            arguments_);
    }

private:
    F function_;
    std::tuple<Args...> arguments_;
};

template <class F, class... Args>
calling(F, Args&&...) -> calling<F, detail::kept_argument_t<Args>...>;

template <class F, class... Args>
inline constexpr bool detail::is_fragile_temporary<calling<F, Args...>> =
    (is_fragile_temporary<F> || ... || is_fragile_temporary<Args>);

} // namespace avirt
