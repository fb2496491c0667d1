// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/avirt.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_future.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

// with_details at each place of each chain of two token adapters, around one token. Building is the test.

namespace tokens {

namespace asio = boost::asio;
using avirt::error_code;

struct environment
{
    asio::io_context io{};
    asio::cancellation_signal signal{};
    avirt::error_details details{};
    error_code redirected{};
    avirt::async_stream stream{io};
    std::array<char, 8> memory{};
};

// Token adapters ---------------------------------------------------------------------------------------------

struct in_slot
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::bind_cancellation_slot(e.signal.slot(), std::forward<Token>(token));
    }
};

struct in_allocator
{
    template <class Token>
    auto operator()(environment&, Token&& token) const
    {
        return asio::bind_allocator(std::allocator<void>(), std::forward<Token>(token));
    }
};

struct in_executor
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::bind_executor(e.io, std::forward<Token>(token));
    }
};

struct in_tuple
{
    template <class Token>
    auto operator()(environment&, Token&& token) const
    {
        return asio::as_tuple(std::forward<Token>(token));
    }
};

struct in_redirect
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::redirect_error(std::forward<Token>(token), e.redirected);
    }
};

struct in_timeout
{
    template <class Token>
    auto operator()(environment&, Token&& token) const
    {
        return avirt::cancel_after(std::chrono::hours(1), std::forward<Token>(token));
    }
};

struct filling
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return avirt::with_details(std::forward<Token>(token), e.details);
    }
};

struct throwing
{
    template <class Token>
    auto operator()(environment&, Token&& token) const
    {
        return avirt::with_details(std::forward<Token>(token));
    }
};

/// Calls visit with each adapter.
template <class Visitor>
void for_each_adapter(Visitor visit)
{
    visit(in_slot());
    visit(in_allocator());
    visit(in_executor());
    visit(in_tuple());
    visit(in_redirect());
    visit(in_timeout());
}

// What Asio itself compiles ------------------------------------------------------------------------------------

template <class Adapter, class Other>
inline constexpr bool is = std::is_same_v<Adapter, Other>;

template <class Adapter>
inline constexpr bool is_binder = is<Adapter, in_slot> || is<Adapter, in_allocator> || is<Adapter, in_executor>;

/// Whether Asio itself compiles a chain, with_details left out.
template <class Token, class Outer, class Inner = void>
constexpr bool asio_compiles()
{
    // A binder takes one of its own kind for what it is to be constructed from, not for what it is to bind.
    if (is_binder<Outer> && is<Outer, Inner>)
        return false;
#if BOOST_ASIO_VERSION < 102800
    // There is no initiate() in the async_result of use_future, which as_tuple needs.
    if (is<Token, asio::use_future_t<>> && (is<Outer, in_tuple> || is<Inner, in_tuple>))
        return false;
    // There is no return_type in that of deferred, which redirect_error needs.
    if (is<Token, asio::deferred_t> && (is<Outer, in_redirect> || is<Inner, in_redirect>))
        return false;
#endif
#if BOOST_ASIO_VERSION < 102802
    // Nor for binders.
    if (is<Token, asio::deferred_t> && (is_binder<Outer> || is_binder<Inner>))
        return false;
#endif
    return true;
}

// Operations ---------------------------------------------------------------------------------------------------

/// The least of an operation: it completes at once, in any way.
struct least_initiation
{
    using executor_type = asio::io_context::executor_type;

    executor_type get_executor() const noexcept
    {
        return executor;
    }

    template <class Handler>
    void operator()(Handler&& handler) const
    {
        (void)asio::get_associated_executor(handler, executor);
        (void)asio::get_associated_allocator(handler);
        (void)asio::get_associated_cancellation_slot(handler);
        *details = avirt::detail::get_associated_details(handler);
        std::forward<Handler>(handler)(error_code(), std::size_t(0));
    }

    executor_type executor;
    avirt::error_details** details;
};

struct least_operation
{
    template <asio::completion_token_for<void(error_code, std::size_t)> Token>
    auto operator()(environment& e, Token&& token) const
    {
        static avirt::error_details* details;
        return asio::async_initiate<Token, void(error_code, std::size_t)>(
            least_initiation{e.io.get_executor(), &details}, token);
    }
};

struct read
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::async_read(e.stream, asio::buffer(e.memory), std::forward<Token>(token));
    }
};

/// What is launched later than it is told.
template <class Operation>
struct later
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return Operation()(e, asio::deferred)(std::forward<Token>(token));
    }
};

// The product --------------------------------------------------------------------------------------------------

template <class Operation, class Token>
void launch(environment& e, Token&& token)
{
    (void)Operation()(e, std::forward<Token>(token));
}

template <class Details, class Token>
void launch_chains_of_two(environment& e, const Token& token)
{
    for_each_adapter([&]<class Outer>(Outer outer) {
        for_each_adapter([&]<class Inner>(Inner inner) {
            if constexpr (asio_compiles<Token, Outer, Inner>()) {
                const Details details;
                launch<least_operation>(e, outer(e, inner(e, details(e, token))));
                launch<least_operation>(e, outer(e, details(e, inner(e, token))));
                launch<least_operation>(e, details(e, outer(e, inner(e, token))));
            }
        });
    });
}

template <class Operation, class Details, class Token>
void launch_chains_of_one(environment& e, const Token& token)
{
    const Details details;
    launch<Operation>(e, details(e, token));
    for_each_adapter([&]<class Adapter>(Adapter adapter) {
        if constexpr (asio_compiles<Token, Adapter>()) {
            launch<Operation>(e, adapter(e, details(e, token)));
            launch<Operation>(e, details(e, adapter(e, token)));
        }
    });
}

/// Lvalues, const and not, as tokens to adapt and to launch with.
template <class Token>
void launch_lvalues(environment& e, const Token& token)
{
    for_each_adapter([&]<class Adapter>(Adapter adapter) {
        if constexpr (asio_compiles<Token, Adapter>()) {
            auto variable = adapter(e, token);
            const auto constant = variable;
            auto filling_variable = avirt::with_details(variable, e.details);
            const auto filling_constant = avirt::with_details(constant, e.details);
            launch<least_operation>(e, filling_variable);
            launch<least_operation>(e, filling_constant);
            auto throwing_variable = avirt::with_details(variable);
            const auto throwing_constant = avirt::with_details(constant);
            launch<least_operation>(e, throwing_variable);
            launch<least_operation>(e, throwing_constant);
            auto timed_variable = avirt::cancel_after(std::chrono::hours(1), variable);
            const auto timed_constant = avirt::cancel_after(std::chrono::hours(1), constant);
            launch<least_operation>(e, timed_variable);
            launch<least_operation>(e, timed_constant);
        }
    });
}

template <class Token>
void launch_everything(environment& e, const Token& token)
{
    launch_chains_of_two<filling>(e, token);
    launch_chains_of_two<throwing>(e, token);
    launch_chains_of_one<read, filling>(e, token);
    launch_chains_of_one<read, throwing>(e, token);
    launch_chains_of_one<later<least_operation>, filling>(e, token);
    launch_chains_of_one<later<least_operation>, throwing>(e, token);
    launch_lvalues(e, token);
}

} // namespace tokens
