// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/erase_handler.hpp>
#include <avirt/detail/failure.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/detail/initiation.hpp>

#include <boost/asio/async_result.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

// Operations that complete at once if an attempt succeeds, so that a handler is erased only if it has to
// wait.
namespace avirt::detail {

// The results of attempts: the error, and what a handler receives beside it.

struct io_result
{
    using signature = void(error_code, std::size_t);

    failure ending{};
    std::size_t bytes = 0;

    auto values() const noexcept
    {
        return std::tuple(bytes);
    }
};

struct hole_result
{
    using signature = void(error_code, std::uint64_t);

    failure ending{};
    std::uint64_t length = 0;

    auto values() const noexcept
    {
        return std::tuple(length);
    }
};

struct wait_result
{
    using signature = void(error_code);

    failure ending{};

    auto values() const noexcept
    {
        return std::tuple();
    }
};

/// Completes an operation of an I/O object with the result of an attempt.
template <class Object, class Handler, class Result>
void complete_attempt(const Object& object, Handler&& handler, error_details* details, Result& result)
{
    if (result.ending && details)
        *details = std::move(result.ending.details);
    const auto complete = [&](auto... values) {
        complete_immediately(
            std::forward<Handler>(handler), object.get_executor(), result.ending.code, values...);
    };
    std::apply(complete, result.values());
}

/// Launches an operation by two member functions of the implementation: Try attempts it without waiting, and
/// returns false if it has to wait; then Wait launches it.
template <class Result, auto Try, auto Wait>
struct launch_attempt
{
    template <class Object, class Handler, class... Args>
    void operator()(Object& object, Handler&& handler, error_details* details, const Args&... args) const
    {
        Result result;
        if ((*implementation_of(object).*Try)(args..., result))
            complete_attempt(object, std::forward<Handler>(handler), details, result);
        else
            (*implementation_of(object).*Wait)(
                args...,
                erase_handler<typename Result::signature>(
                    std::forward<Handler>(handler), object.get_executor()),
                details);
    }
};

/// Initiates the operation of the implementation that Try attempts and Wait launches.
template <class Result, auto Try, auto Wait, class Object, class Token, class... Args>
auto initiate_attempt(Object& object, Token& token, const Args&... args)
{
    return asio::async_initiate<Token, typename Result::signature>(
        initiation(object, launch_attempt<Result, Try, Wait>()), token, args...);
}

} // namespace avirt::detail
