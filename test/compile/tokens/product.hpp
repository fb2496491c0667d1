// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/connection.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/volume_transfer.hpp>
#include <support/token_adapters.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/read.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <utility>

// with_details at each place of each chain of two token adapters, around one token. Compiling it is the test.

namespace tokens {

using namespace support;
using avirt::error_code;

struct environment : associations
{
    avirt::connection connection{io};
    avirt::async_stream stream{io};
    std::array<char, 8> memory_read{};
};

// Operations
// ---------------------------------------------------------------------------------------------------

/// The minimum of an operation.
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
        std::forward<Handler>(handler)(error_code(), std::size_t(0));
    }

    executor_type executor;
};

struct least_operation
{
    template <asio::completion_token_for<void(error_code, std::size_t)> Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::async_initiate<Token, void(error_code, std::size_t)>(
            least_initiation{e.io.get_executor()}, token);
    }
};

struct read
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return asio::async_read(e.stream, asio::buffer(e.memory_read), std::forward<Token>(token));
    }
};

/// Algorithms that keep what they are given until they are launched.
struct receive
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return avirt::async_receive_all(
            e.stream, [](asio::const_buffer) {}, {}, std::forward<Token>(token));
    }
};

struct download
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return avirt::async_download(e.connection, {"pool", "volume"}, "", {}, std::forward<Token>(token));
    }
};

/// An operation that is launched after it was created.
template <class Operation>
struct later
{
    template <class Token>
    auto operator()(environment& e, Token&& token) const
    {
        return Operation()(e, asio::deferred)(std::forward<Token>(token));
    }
};

// The product
// --------------------------------------------------------------------------------------------------

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
    launch_chains_of_one<receive, filling>(e, token);
    launch_chains_of_one<receive, throwing>(e, token);
    launch_chains_of_one<download, filling>(e, token);
    launch_chains_of_one<download, throwing>(e, token);
    launch_chains_of_one<later<least_operation>, filling>(e, token);
    launch_chains_of_one<later<least_operation>, throwing>(e, token);
    launch_lvalues(e, token);
}

} // namespace tokens
