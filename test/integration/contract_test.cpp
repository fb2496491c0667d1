// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#if BOOST_ASIO_VERSION >= 102800
#include <boost/asio/bind_immediate_executor.hpp>
#include <boost/asio/system_executor.hpp>
#endif
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

// Tests Asio's requirements on asynchronous operations.

namespace {

BOOST_AUTO_TEST_SUITE(contract)

BOOST_AUTO_TEST_CASE(handlers_are_invoked_once_and_only_by_run)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        std::thread::id invoked_on;
        bool is_inside = true;
        bool was_inline = false;
        // Launched inside run(), where dispatch() would invoke the handler inline.
        asio::post(r.io, [&] {
            op.launch(r, o.handler([&] {
                was_inline = is_inside;
                invoked_on = std::this_thread::get_id();
            }));
            is_inside = false;
        });
        r.run_until_done(o);
        BOOST_TEST(!was_inline);
        BOOST_TEST((invoked_on == std::this_thread::get_id()));
        r.stream.close();
        r.conn.close();
        support::run_to_end(r.io);
        r.check(o, {});
    });
}

BOOST_AUTO_TEST_CASE(immediate_failures_do_not_invoke_the_handler_inline)
{
    operations_fixture r;
    bool is_inside = true;
    int calls = 0;
    const auto handler = [&](error_code ec, auto...) {
        BOOST_TEST(!is_inside);
        BOOST_TEST(ec == avirt::error::not_open);
        ++calls;
    };
    asio::post(r.io, [&] {
        r.conn.async_close(handler);
        r.conn.async_call(virConnectNumOfDomains, handler);
        r.stream.async_open(r.conn, avirt::screenshot{"test"}, handler);
        r.stream.async_read_some(asio::buffer(r.memory), handler);
        r.stream.async_write_some(asio::buffer(r.memory), handler);
        r.stream.async_wait(wait_type::error, handler);
        r.stream.async_finish(handler);
        r.stream.async_abort(handler);
        is_inside = false;
    });
    r.run_until([&] { return calls == 8; });
}

BOOST_AUTO_TEST_CASE(on_the_strand_of_another_context)
{
    for_each_operation([](auto op) {
        asio::thread_pool pool(2);
        const auto strand = asio::make_strand(pool);
        operations_fixture r;
        op.prepare(r);
        outcome o;
        std::atomic<bool> is_over = false;
        bool in_strand = false;
        op.launch(r, asio::bind_executor(asio::any_io_executor(strand), o.handler([&] {
                      in_strand = strand.running_in_this_thread();
                      is_over = true;
                  })));
        r.run_until([&] { return is_over.load(); });
        pool.join();
        r.check(o, {});
        BOOST_TEST(in_strand);
    });
}

BOOST_AUTO_TEST_CASE(counts_as_work_on_both_contexts)
{
    for_each_operation([](auto op) {
        asio::io_context other;
        operations_fixture r;
        op.prepare(r);
        outcome o;
        op.launch(r, asio::bind_executor(asio::any_io_executor(other.get_executor()), o.handler()));
        std::thread runner([&] { other.run(); }); // Must not return before the handler is invoked.
        r.stream.cancel();
        r.run_until([&] { return other.stopped(); });
        runner.join();
        BOOST_TEST(o.calls() == 1);
    });
}

BOOST_AUTO_TEST_CASE(run_returns_only_when_the_operation_is_over)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, o.handler([&] {
            r.stream.close();
            r.conn.close();
        }));
        r.io.restart();
        r.io.run();
        r.check(o, {});
    });
}

/// Counts the allocations of an allocator and of its copies.
struct allocations
{
    std::atomic<int> made = 0;
    std::atomic<int> alive = 0;
};

template <class T>
struct counting_allocator
{
    using value_type = T;
    allocations* log;

    explicit counting_allocator(allocations& a) : log(&a) {}

    template <class U>
    counting_allocator(const counting_allocator<U>& other) : log(other.log)
    {
    }

    T* allocate(std::size_t n)
    {
        ++log->made;
        ++log->alive;
        return static_cast<T*>(::operator new(n * sizeof(T)));
    }

    void deallocate(T* p, std::size_t)
    {
        --log->alive;
        ::operator delete(p);
    }

    template <class U>
    bool operator==(const counting_allocator<U>& other) const
    {
        return log == other.log;
    }
};

BOOST_AUTO_TEST_CASE(the_handlers_allocator_is_used_and_its_memory_freed_before_invocation)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        allocations log;
        outcome o;
        int alive = -1;
        op.launch(
            r, asio::bind_allocator(counting_allocator<void*>(log), o.handler([&] { alive = log.alive; })));
        r.run_until_done(o);
        // Asio's own post() through an any_io_executor does not use the allocator.
        BOOST_TEST((op.is_immediate || log.made > 0));
        BOOST_TEST(alive == 0);
        BOOST_TEST(log.alive == 0);
    });
}

BOOST_AUTO_TEST_CASE(immediate_completions_use_the_allocator)
{
    operations_fixture r;
    r.make_readable();
    avirt::basic_async_stream<asio::io_context::executor_type> stream(r.io);
    allocations log;
    outcome o;
    stream.async_read_some(
        asio::buffer(r.memory), asio::bind_allocator(counting_allocator<void*>(log), o.handler()));
    BOOST_TEST(log.made == 1);
    r.run_until_done(o);
    BOOST_TEST(log.alive == 0);
}

struct move_only_handler
{
    outcome o;
    std::unique_ptr<int> owned = std::make_unique<int>(1);

    void operator()(error_code ec, auto&&...) &&
    {
        o.handler()(ec, *owned);
    }
};

BOOST_AUTO_TEST_CASE(a_move_only_handler_is_invoked_as_an_rvalue)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, move_only_handler{o});
        r.check_result(o);
        BOOST_TEST(o.bytes() == 1u);
    });
}

BOOST_AUTO_TEST_CASE(a_handlers_exception_leaves_run_and_operations_still_work)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, o.handler([] { throw 42; }));
        BOOST_CHECK_THROW(r.run_until([] { return false; }), int);
        r.check(o, {});
        outcome next;
        r.conn.async_close(next.handler());
        r.run_until_done(next);
        BOOST_TEST(next.calls() == 1);
    });
}

#if BOOST_ASIO_VERSION >= 102800
BOOST_AUTO_TEST_CASE(immediate_completions_use_the_immediate_executor)
{
    operations_fixture r;
    r.make_readable();
    const auto check = [&](auto launch, bool is_immediate) {
        outcome o;
        launch(asio::bind_immediate_executor(asio::system_executor(), o.handler()));
        BOOST_TEST(o.calls() == (is_immediate ? 1 : 0));
        r.run_until_done(o);
    };
    const auto buffer = asio::buffer(r.memory);
    check([&](auto token) { r.stream.async_read_some(buffer, std::move(token)); }, true);
    check([&](auto token) { r.stream.async_read_some(asio::mutable_buffer(), std::move(token)); }, true);
    check([&](auto token) { r.stream.async_write_some(asio::const_buffer(), std::move(token)); }, true);
    check([&](auto token) { r.stream.async_read_some(buffer, std::move(token)); }, false);
    r.stream.close();
    check([&](auto token) { r.stream.async_read_some(buffer, std::move(token)); }, true);
    check([&](auto token) { r.stream.async_write_some(buffer, std::move(token)); }, true);
    check([&](auto token) { r.stream.async_read_hole(std::move(token)); }, true);
    check([&](auto token) { r.stream.async_write_hole(1, std::move(token)); }, true);
    check([&](auto token) { r.stream.async_wait(r.stream.wait_type::read, std::move(token)); }, true);
}

BOOST_AUTO_TEST_CASE(the_immediate_executor_and_the_associated_executor)
{
    operations_fixture r;
    r.make_readable();
    asio::thread_pool pool(1);
    const auto strand = asio::make_strand(pool);
    std::atomic<int> in_strand = -1;
    r.stream.async_read_some(
        asio::buffer(r.memory),
        asio::bind_immediate_executor(strand, asio::bind_executor(strand, [&](error_code, std::size_t) {
                                          in_strand = strand.running_in_this_thread();
                                      })));
    pool.join();
    BOOST_TEST(in_strand == 1);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

} // namespace
