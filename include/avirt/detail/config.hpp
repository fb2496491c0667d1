// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/version.hpp>
#include <boost/system/error_code.hpp>
#include <boost/version.hpp>

#include <type_traits>

#if BOOST_VERSION < 108100
#error "avirt needs Boost 1.81 or newer"
#endif

#if defined(AVIRT_SHARED)
#define AVIRT_DECL __attribute__((visibility("default")))
#else
#define AVIRT_DECL
#endif

/// Everything avirt: libvirt on Boost.Asio.
namespace avirt {

namespace asio = boost::asio;
using boost::system::error_code;

namespace detail {

template <class Executor, class = void>
struct default_token
{
    using type = asio::deferred_t;
};

// Before Boost 1.86 the trait is void for an executor without a default token.
template <class Executor>
struct default_token<
    Executor, std::enable_if_t<!std::is_void_v<typename asio::default_completion_token<Executor>::type>>>
{
    using type = typename asio::default_completion_token<Executor>::type;
};

template <class T>
concept execution_context = std::is_convertible_v<T&, asio::execution_context&>;

/// The executor's own default completion token, or `asio::deferred` if it has none.
template <class Executor>
using default_token_t = typename default_token<Executor>::type;

} // namespace detail
} // namespace avirt
