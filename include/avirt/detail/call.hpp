// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/failure.hpp>
#include <avirt/detail/handler_adapter.hpp>
#include <avirt/handle.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <libvirt/libvirt.h>

#include <concepts>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace avirt::detail {

/// A function that is called on a worker thread.
class call_base
{
public:
    virtual ~call_base() = default;
    /// Calls the function, destroys it, and keeps its result.
    virtual failure run(virConnectPtr connection) noexcept = 0;

    /// Whether the function is avirt's own: cancelling the call does not interrupt the connection.
    virtual bool is_internal() const noexcept
    {
        return false;
    }

    /// Whether the function's result refers to no object of the connection, which may serve another call
    /// then.
    virtual bool leaves_no_object() const noexcept
    {
        return false;
    }

    /// Whether the call fails on a connection to a daemon whose socket libvirt does not watch.
    virtual bool needs_watched_socket() const noexcept
    {
        return false;
    }
};

template <class T>
inline constexpr bool is_handle = false;

template <class Pointer>
inline constexpr bool is_handle<handle<Pointer>> = true;

template <class T>
bool failed(const T& result)
{
    if constexpr (std::signed_integral<T>)
        return result < 0;
    else if constexpr (std::is_pointer_v<T> || is_handle<T>)
        return !result;
    else
        return false;
}

template <class T>
concept libvirt_object = std::is_pointer_v<T> && requires(T object)
{
    release_reference(object);
};

/// The type with which an operation completes if the function returns an R. It owns the result, so that a
/// result for which no operation waits any more is released.
template <class R>
struct owned_result
{
    using type = R;

    static type take(R result)
    {
        return result;
    }
};

template <libvirt_object Pointer>
struct owned_result<Pointer>
{
    using type = handle<Pointer>;

    static type take(Pointer object) noexcept
    {
        return type(object);
    }
};

template <libvirt_object Pointer>
struct owned_result<std::vector<Pointer>>
{
    using type = std::vector<handle<Pointer>>;

    static type take(const std::vector<Pointer>& objects)
    try {
        return type(objects.begin(), objects.end());
    }
    catch (...) { // There is no memory for the handles.
        for (const auto object : objects)
            release_reference(object);
        throw;
    }
};

template <>
struct owned_result<char*>
{
    using type = std::string;

    static type take(char* text)
    {
        const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
        return text ? type(text) : type();
    }
};

template <>
struct owned_result<void>
{
    using type = void;
};

/// Whether a result of the type cannot refer to a connection: a number, text, or a standard container of
/// these.
template <class T>
inline constexpr bool is_plain_value = std::is_void_v<T> || std::is_arithmetic_v<T> || std::is_enum_v<T>;

template <class... Parameters>
inline constexpr bool is_plain_value<std::basic_string<Parameters...>> = true;

template <class T, class Allocator>
inline constexpr bool is_plain_value<std::vector<T, Allocator>> = is_plain_value<T>;

template <class Key, class T, class... Rest>
inline constexpr bool is_plain_value<std::map<Key, T, Rest...>> = is_plain_value<Key>&& is_plain_value<T>;

template <class T>
inline constexpr bool is_plain_value<std::optional<T>> = is_plain_value<T>;

template <class First, class Second>
inline constexpr bool is_plain_value<std::pair<First, Second>> =
    is_plain_value<First>&& is_plain_value<Second>;

template <class F>
using raw_call_result = std::decay_t<std::invoke_result_t<F&, virConnectPtr>>;

template <class F>
using call_result = typename owned_result<raw_call_result<F>>::type;

template <class R>
struct call_signature_of
{
    using type = void(error_code, R);
};

template <>
struct call_signature_of<void>
{
    using type = void(error_code);
};

template <class F>
using call_signature = typename call_signature_of<call_result<F>>::type;

template <class F>
class call final : public call_base
{
public:
    using result_type = call_result<F>;

    explicit call(F f) : function_(std::move(f)) {}

    failure run(virConnectPtr connection) noexcept override
    {
        failure f;
        try {
            if constexpr (std::is_void_v<result_type>) {
                std::invoke(*function_, connection);
            }
            else {
                raw_call_result<F> result = std::invoke(*function_, connection);
                if (failed(result))
                    f = last_failure();
                result_.emplace(owned_result<raw_call_result<F>>::take(std::move(result)));
            }
        }
        catch (...) {
            f = current_failure();
        }
        function_.reset();
        return f;
    }

    bool leaves_no_object() const noexcept override
    {
        return is_plain_value<result_type>;
    }

    result_type take_result()
    {
        if constexpr (!std::is_void_v<result_type>)
            return result_ ? std::move(*result_) : result_type{};
    }

private:
    struct nothing
    {
    };

    std::optional<F> function_;
    std::optional<std::conditional_t<std::is_void_v<result_type>, nothing, result_type>> result_;
};

/// The second argument tells whether the function has returned. If it has not, its thread may still use the
/// result.
using call_handler = asio::any_completion_handler<void(error_code, bool)>;

/// Completes an async_call: passes on what the function returned.
template <class Handler, class F>
class call_completion
{
public:
    using adapted_handler_type = Handler;

    call_completion(Handler h, std::shared_ptr<call<F>> called)
        : handler_(std::move(h)),
          called_(std::move(called))
    {
    }

    const Handler& handler() const noexcept
    {
        return handler_;
    }

    void operator()(error_code ec, bool has_returned)
    {
        using result_type = typename call<F>::result_type;
        if constexpr (std::is_void_v<result_type>) {
            called_.reset();
            std::move(handler_)(ec);
        }
        else {
            auto result = has_returned ? called_->take_result() : result_type{};
            called_.reset();
            std::move(handler_)(ec, std::move(result));
        }
    }

private:
    Handler handler_;
    std::shared_ptr<call<F>> called_;
};

} // namespace avirt::detail
