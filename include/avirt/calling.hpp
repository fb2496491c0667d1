// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/handle.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace avirt {
namespace detail {

/// The type in which calling stores an argument: a string for a text, a copy of anything else.
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

// An argument of type char* may be null.
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
    constexpr bool may_be_null =
        std::is_pointer_v<std::decay_t<Arg>> && !std::is_array_v<std::remove_reference_t<Arg>>;
    if constexpr (std::is_same_v<Kept, std::optional<std::string>> && may_be_null)
        return arg ? Kept(arg) : Kept();
    else
        return Kept(std::forward<Arg>(arg));
}

// Stored arguments, in the form in which libvirt's functions take them.

template <class Kept>
Kept&& libvirt_argument(Kept& kept) noexcept
{
    return std::move(kept);
}

inline const char* libvirt_argument(std::string& text) noexcept
{
    return text.c_str();
}

inline const char* libvirt_argument(std::optional<std::string>& text) noexcept
{
    return text ? text->c_str() : nullptr;
}

template <class Pointer>
Pointer libvirt_argument(handle<Pointer>& object) noexcept
{
    return object.get();
}

template <class Kept>
using libvirt_argument_t = decltype(libvirt_argument(std::declval<Kept&>()));

/// How calling<F, Args...> calls its function if it is called with Leading.
template <class F, class Leading, class Args>
struct calling_form;

template <class F, class... Leading, class... Args>
struct calling_form<F, std::tuple<Leading...>, std::tuple<Args...>>
{
    static constexpr bool is_plain = std::is_invocable_v<F&, Leading..., libvirt_argument_t<Args>...>;
    static constexpr bool is_with_handles = std::is_invocable_v<F&, Leading..., Args...>;
    /// f is one of libvirt's functions on objects, which take no connection.
    static constexpr bool is_of_object =
        sizeof...(Leading) == 1 && std::is_invocable_v<F&, libvirt_argument_t<Args>...>;
    static constexpr bool exists = is_plain || is_with_handles || is_of_object;
};

} // namespace detail

/// Binds a function to further arguments, for basic_connection::async_call() and
/// basic_async_stream::async_open().
///
/// It calls `f(connection, args...)` or `f(connection, stream, args...)`, or `f(args...)` if f takes no
/// connection, like libvirt's functions on objects.
///
/// In a coroutine it replaces a closure: GCC 12 miscompiles a closure that is a temporary of a co_await
/// expression and holds a std::string, for instance. Unlike a closure that captures references, it owns
/// everything that f uses, which matters because f may still run after its operation was cancelled.
///
/// The arguments are stored as copies and passed as rvalues; therefore f can be called only once. A text
/// (std::string, std::string_view, const char*) is copied and passed as a `const char*`. An owning handle is
/// passed as libvirt's pointer, or as the handle if f takes one.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @code
/// avirt::domain vm = co_await conn.async_call(avirt::calling(virDomainLookupByName, name));
/// co_await conn.async_call(avirt::calling(virDomainSuspend, vm.ref()));
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
    requires detail::calling_form<F, std::tuple<Leading...>, std::tuple<Args...>>::exists decltype(auto)
    operator()(Leading... leading)
    {
        using form = detail::calling_form<F, std::tuple<Leading...>, std::tuple<Args...>>;
        return std::apply(
            [&](Args&... kept) -> decltype(auto) {
                if constexpr (form::is_plain)
                    return std::invoke(function_, leading..., detail::libvirt_argument(kept)...);
                else if constexpr (form::is_with_handles)
                    return std::invoke(function_, leading..., std::move(kept)...);
                else
                    return std::invoke(function_, detail::libvirt_argument(kept)...);
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
