// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/coroutine.hpp>
#include <support/token_adapters.hpp>

#include <boost/asio/append.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <future>
#include <memory>
#include <utility>

// Tests with_details in chains of token adapters.

namespace {

using namespace support;
using namespace std::chrono_literals;

/// What an operation finds associated with its handler.
struct findings
{
    avirt::error_details* details = nullptr;
    bool has_slot = false;
    bool has_allocator = false;
    bool has_executor = false;
};

/// Records what is associated with the handler, and fails.
struct failing_initiation
{
    using executor_type = asio::io_context::executor_type;

    executor_type get_executor() const noexcept
    {
        return all->io.get_executor();
    }

    template <class Handler>
    void operator()(Handler&& handler) const
    {
        found->details = avirt::detail::get_associated_details(handler);
        found->has_slot = asio::get_associated_cancellation_slot(handler) == all->signal.slot();
        const auto allocator = asio::get_associated_allocator(handler);
        if constexpr (requires { allocator.memory; })
            found->has_allocator = allocator.memory == &all->memory;
        found->has_executor =
            asio::any_io_executor(asio::get_associated_executor(handler, get_executor())) == all->strand;
        if (found->details)
            found->details->message = "why";
        asio::post(get_executor(), asio::append(std::forward<Handler>(handler), aborted));
    }

    associations* all;
    findings* found;
};

struct failing_operation
{
    template <class Token>
    auto operator()(associations& a, findings& f, Token&& token) const
    {
        return asio::async_initiate<Token, void(error_code)>(failing_initiation{&a, &f}, token);
    }
};

/// A handler for any signature.
struct counting_callback
{
    int* calls;

    template <class... Args>
    void operator()(Args&&...) const
    {
        ++*calls;
    }
};

/// Launches the operation with a chain of adapters, and checks what it found.
template <class Outer, class Inner, class Token>
findings check_chain(associations& a, int& calls, Token&& token)
{
    findings found;
    calls = 0;
    a.details = {};
    failing_operation()(a, found, std::forward<Token>(token));
    BOOST_TEST(calls == 0);
    a.io.restart();
    a.io.run(); // would not return while a timer runs
    BOOST_TEST(calls == 1);
    BOOST_TEST(a.memory == 0);
    BOOST_TEST((found.details != nullptr));
    // A slot that is bound inside cancel_after is hidden by the slot of cancel_after.
    constexpr bool is_hidden = is<Outer, in_timeout> && is<Inner, in_slot>;
    BOOST_TEST(found.has_slot == (!is_hidden && (is<Outer, in_slot> || is<Inner, in_slot>)));
    BOOST_TEST(found.has_allocator == (is<Outer, in_allocator> || is<Inner, in_allocator>));
    BOOST_TEST(found.has_executor == (is<Outer, in_executor> || is<Inner, in_executor>));
    return found;
}

BOOST_AUTO_TEST_SUITE(adapter)

BOOST_AUTO_TEST_CASE(associations_are_kept_at_every_position_of_with_details)
{
    associations a;
    int calls = 0;
    const counting_callback callback{&calls};
    for_each_adapter([&]<class Outer>(Outer outer) {
        for_each_adapter([&]<class Inner>(Inner inner) {
            if constexpr (asio_compiles<counting_callback, Outer, Inner>()) {
                const auto check = [&](auto token) {
                    const auto found = check_chain<Outer, Inner>(a, calls, std::move(token));
                    BOOST_TEST((found.details == &a.details));
                    BOOST_TEST(a.details.message == "why");
                };
                const filling details;
                check(outer(a, inner(a, details(a, callback))));
                check(outer(a, details(a, inner(a, callback))));
                check(details(a, outer(a, inner(a, callback))));
                const throwing exception;
                check_chain<Outer, Inner>(a, calls, outer(a, exception(a, inner(a, callback))));
            }
        });
    });
}

const auto open_on_missing_domain = [](operations_fixture& r, auto token) {
    return r.stream.async_open(r.conn, avirt::screenshot{"nobody"}, std::move(token));
};

/// Calls visit with each adapter that passes the error on to the token.
template <class Visitor>
void for_each_binder(Visitor visit)
{
    visit(in_slot());
    visit(in_allocator());
    visit(in_executor());
    visit(in_timeout());
}

void check_exception(const avirt::exception& e)
{
    BOOST_TEST(e.code() == avirt::condition::not_found);
    BOOST_TEST(e.details().code == int{VIR_ERR_NO_DOMAIN});
    BOOST_TEST(!e.details().message.empty());
}

BOOST_AUTO_TEST_CASE(futures_throw_the_details)
{
    for_each_binder([](auto bind) {
        associations a; // its executor belongs to another context
        operations_fixture r;
        r.open_connection();
        const auto check = [&](auto future) {
            r.run_until([&] {
                a.io.restart();
                a.io.poll();
                return future.wait_for(0s) == std::future_status::ready;
            });
            try {
                future.get();
                BOOST_ERROR("opened on a missing domain");
            }
            catch (const avirt::exception& e) {
                check_exception(e);
            }
        };
        check(open_on_missing_domain(r, bind(a, avirt::with_details(asio::use_future))));
        check(open_on_missing_domain(r, avirt::with_details(bind(a, asio::use_future))));
    });
}

BOOST_AUTO_TEST_CASE(coroutines_throw_the_details)
{
    operations_fixture r;
    r.open_connection();
    int memory = 0;
    asio::cancellation_signal signal;
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        const avirt::screenshot opener{"nobody"};
        const auto check = [&](auto token) -> asio::awaitable<void> {
            try {
                co_await r.stream.async_open(r.conn, opener, std::move(token));
                BOOST_ERROR("opened on a missing domain");
            }
            catch (const avirt::exception& e) {
                check_exception(e);
            }
        };
        using avirt::with_details;
        const counting_allocator<void*> allocator(memory);
        co_await check(asio::bind_allocator(allocator, with_details(asio::use_awaitable)));
        co_await check(with_details(asio::bind_allocator(allocator, asio::use_awaitable)));
        co_await check(asio::bind_cancellation_slot(signal.slot(), with_details(asio::use_awaitable)));
        co_await check(with_details(asio::bind_cancellation_slot(signal.slot(), asio::use_awaitable)));
        co_await check(avirt::cancel_after(1h, with_details(asio::use_awaitable)));
        co_await check(with_details(avirt::cancel_after(1h, asio::use_awaitable)));
        co_await check(with_details(asio::deferred));
        co_await check(avirt::cancel_after(1h, with_details(asio::deferred)));
        co_await check(with_details(avirt::cancel_after(1h, asio::deferred)));
    });
    BOOST_TEST(memory == 0);
}

BOOST_AUTO_TEST_CASE(the_slot_still_cancels)
{
    operations_fixture r;
    r.open_stream();
    const auto check = [&](auto bind) {
        asio::cancellation_signal signal;
        avirt::error_details why;
        outcome o;
        r.stream.async_wait(wait_type::write, bind(signal.slot(), o.handler(), why));
        r.io.restart();
        r.io.poll();
        BOOST_TEST(o.calls() == 0);
        signal.emit(asio::cancellation_type::total);
        r.check_result(o, aborted);
        BOOST_TEST(why.code == 0);
    };
    check([](auto slot, auto handler, auto& why) {
        return asio::bind_cancellation_slot(slot, avirt::with_details(handler, why));
    });
    check([](auto slot, auto handler, auto& why) {
        return avirt::with_details(asio::bind_cancellation_slot(slot, handler), why);
    });
}

/// An operation that is composed with Asio, and fails with libvirt's error.
template <class Token>
auto async_open_composed(operations_fixture& r, Token&& token)
{
    return asio::async_compose<Token, void(error_code)>(
        [&r, is_begun = false](auto& self, error_code ec = {}) mutable {
            if (std::exchange(is_begun, true))
                return self.complete(ec);
            r.stream.async_open(r.conn, avirt::screenshot{"nobody"}, std::move(self));
        },
        token, r.io);
}

BOOST_AUTO_TEST_CASE(composed_operations_fill_the_details)
{
    operations_fixture r;
    r.open_connection();
    const auto check = [&](auto adapt) {
        avirt::error_details why;
        outcome o;
        async_open_composed(r, adapt(o.handler(), why));
        r.run_until_done(o);
        BOOST_TEST(o.ec() == avirt::condition::not_found);
        BOOST_TEST(why.code == int{VIR_ERR_NO_DOMAIN});
    };
    check([](auto handler, auto& why) { return avirt::with_details(handler, why); });
    int memory = 0;
    check([&](auto handler, auto& why) {
        return asio::bind_allocator(counting_allocator<void*>(memory), avirt::with_details(handler, why));
    });
    check([](auto handler, auto& why) { return avirt::cancel_after(1h, avirt::with_details(handler, why)); });
    check([](auto handler, auto& why) { return avirt::with_details(avirt::cancel_after(1h, handler), why); });
    BOOST_TEST(memory == 0);
    auto f = async_open_composed(r, avirt::with_details(asio::use_future));
    r.run_until([&] { return f.wait_for(0s) == std::future_status::ready; });
    try {
        f.get();
        BOOST_ERROR("opened on a missing domain");
    }
    catch (const avirt::exception& e) {
        check_exception(e);
    }
}

/// A token that counts its copies that are alive.
struct counted_token
{
    counted_token() : alive(std::make_shared<int>(0)) {}

    void operator()(error_code, auto...) const {}

    std::shared_ptr<int> alive;
};

BOOST_AUTO_TEST_CASE(temporary_tokens_are_destroyed_once)
{
    operations_fixture r;
    r.open_connection();
    const counted_token token;
    avirt::error_details why;
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        r.conn.async_call(virConnectNumOfDomains, avirt::with_details(token, why)),
            co_await asio::post(r.io, asio::use_awaitable);
        r.conn.async_call([](virConnectPtr) {}, avirt::cancel_after(1h, avirt::with_details(token, why))),
            co_await asio::post(r.io, asio::use_awaitable);
        co_await r.conn.async_close(asio::use_awaitable);
    });
    support::run_to_end(r.io);
    BOOST_TEST(token.alive.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
