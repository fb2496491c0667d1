// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/cancel_after.hpp>
#include <avirt/error.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

// Asio's token adapters and avirt's, to be combined in every way.

namespace support {

namespace asio = boost::asio;

/// What the adapters associate with a handler.
struct associations
{
    asio::io_context io{};
    asio::strand<asio::io_context::executor_type> strand{io.get_executor()};
    asio::cancellation_signal signal{};
    avirt::error_details details{};
    boost::system::error_code redirected{};
    int memory = 0; // allocations that have not been freed
};

/// An allocator that counts its allocations.
template <class T>
struct counting_allocator
{
    using value_type = T;

    explicit counting_allocator(int& m) : memory(&m) {}

    template <class U>
    counting_allocator(const counting_allocator<U>& other) : memory(other.memory)
    {
    }

    T* allocate(std::size_t n)
    {
        ++*memory;
        return static_cast<T*>(::operator new(n * sizeof(T)));
    }

    void deallocate(T* p, std::size_t)
    {
        --*memory;
        ::operator delete(p);
    }

    template <class U>
    bool operator==(const counting_allocator<U>& other) const
    {
        return memory == other.memory;
    }

    int* memory;
};

struct in_slot
{
    template <class Token>
    auto operator()(associations& a, Token&& token) const
    {
        return asio::bind_cancellation_slot(a.signal.slot(), std::forward<Token>(token));
    }
};

struct in_allocator
{
    template <class Token>
    auto operator()(associations& a, Token&& token) const
    {
        return asio::bind_allocator(counting_allocator<void*>(a.memory), std::forward<Token>(token));
    }
};

struct in_executor
{
    template <class Token>
    auto operator()(associations& a, Token&& token) const
    {
        return asio::bind_executor(a.strand, std::forward<Token>(token));
    }
};

struct in_tuple
{
    template <class Token>
    auto operator()(associations&, Token&& token) const
    {
        return asio::as_tuple(std::forward<Token>(token));
    }
};

struct in_redirect
{
    template <class Token>
    auto operator()(associations& a, Token&& token) const
    {
        return asio::redirect_error(std::forward<Token>(token), a.redirected);
    }
};

struct in_timeout
{
    template <class Token>
    auto operator()(associations&, Token&& token) const
    {
        return avirt::cancel_after(std::chrono::hours(1), std::forward<Token>(token));
    }
};

struct filling
{
    template <class Token>
    auto operator()(associations& a, Token&& token) const
    {
        return avirt::with_details(std::forward<Token>(token), a.details);
    }
};

struct throwing
{
    template <class Token>
    auto operator()(associations&, Token&& token) const
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

template <class Adapter, class Other>
inline constexpr bool is = std::is_same_v<Adapter, Other>;

template <class Adapter>
inline constexpr bool is_binder =
    is<Adapter, in_slot> || is<Adapter, in_allocator> || is<Adapter, in_executor>;

/// Whether Asio itself compiles a chain, with_details left out.
template <class Token, class Outer, class Inner = void>
constexpr bool asio_compiles()
{
    // A binder takes a binder of its own kind as something to be constructed from, not as something to bind.
    if (is_binder<Outer> && is<Outer, Inner>)
        return false;
#if BOOST_ASIO_VERSION < 102800
    // The async_result of use_future has no initiate(), which as_tuple needs.
    if (is<Token, asio::use_future_t<>> && (is<Outer, in_tuple> || is<Inner, in_tuple>))
        return false;
    // The async_result of deferred has no return_type, which redirect_error needs.
    if (is<Token, asio::deferred_t> && (is<Outer, in_redirect> || is<Inner, in_redirect>))
        return false;
#endif
#if BOOST_ASIO_VERSION < 102802
    // Binders need it as well.
    if (is<Token, asio::deferred_t> && (is_binder<Outer> || is_binder<Inner>))
        return false;
#endif
    return true;
}

} // namespace support
