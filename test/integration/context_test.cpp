// SPDX-License-Identifier: BSL-1.0
#include "event_operations.hpp"
#include "operations.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

// Tests stopped contexts, several contexts, and objects that are destroyed inside their own handlers.

namespace {

BOOST_AUTO_TEST_SUITE(context)

BOOST_AUTO_TEST_CASE(objects_are_destroyed_inside_their_own_handlers)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, o.handler([&] {
            r.stream = avirt::async_stream(r.io);
            r.conn = avirt::connection(r.io);
        }));
        r.check_result(o);
    });
}

BOOST_AUTO_TEST_CASE(objects_are_moved_inside_their_own_handlers)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        std::optional<avirt::async_stream> stream;
        std::optional<avirt::connection> conn;
        op.launch(r, o.handler([&] {
            stream.emplace(std::move(r.stream));
            conn.emplace(std::move(r.conn));
        }));
        r.check_result(o);
        r.open_stream(); // Moved-from objects can be used again.
        outcome read;
        r.stream.async_read_some(asio::buffer(r.memory), read.handler());
        r.check_result(read);
    });
}

BOOST_AUTO_TEST_CASE(objects_are_moved_during_an_operation)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        if (op.uses_object)
            return;
        outcome o;
        op.launch(r, o.handler());
        const avirt::async_stream stream(std::move(r.stream));
        const avirt::connection conn(std::move(r.conn));
        r.check_result(o);
    });
}

BOOST_AUTO_TEST_CASE(handlers_run_between_slow_libvirt_callbacks)
{
    struct counts
    {
        int timeouts = 0;
        int handlers = 0;
        int most_in_a_row = 0;
        int in_a_row = 0;
    } n;
    operations_fixture r;
    const int timer = virEventAddTimeout(
        0,
        [](int, void* o) {
            auto& c = *static_cast<counts*>(o);
            ++c.timeouts;
            c.most_in_a_row = std::max(c.most_in_a_row, ++c.in_a_row);
            const auto start = std::chrono::steady_clock::now();
            while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1))
                ;
        },
        &n, nullptr);
    std::function<void()> again = [&] {
        n.in_a_row = 0;
        if (++n.handlers < 100)
            asio::post(r.io, again);
    };
    asio::post(r.io, again);
    r.run_until([&] { return n.handlers == 100; });
    virEventRemoveTimeout(timer);
    BOOST_TEST(n.timeouts > 0);
    BOOST_TEST(n.most_in_a_row == 1);
}

BOOST_AUTO_TEST_CASE(everything_works_after_a_handler_has_thrown)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, o.handler([] { throw std::range_error("from a handler"); }));
        BOOST_CHECK_THROW(r.run_until_done(o), std::range_error);
        r.check(o, {});
        r.stream.close();
        r.conn.close();
        r.make_readable();
        outcome read;
        r.stream.async_read_some(asio::buffer(r.memory), read.handler());
        r.check_result(read);
    });
}

BOOST_AUTO_TEST_CASE(the_context_is_stopped_repeatedly)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, o.handler());
        for (int i = 0; i < 20 && !o; ++i) {
            r.io.restart();
            asio::post(r.io, [&] { r.io.stop(); });
            r.io.run();
        }
        r.check_result(o);
    });
}

/// Runs a context on separate threads. The destructor waits until the context is out of work.
class runner
{
public:
    explicit runner(asio::io_context& io, int threads = 1) : work_(io.get_executor())
    {
        for (int i = 0; i < threads; ++i)
            threads_.emplace_back([&io] { io.run(); });
    }

    ~runner()
    {
        work_.reset();
        for (auto& t : threads_)
            t.join();
    }

private:
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::vector<std::thread> threads_;
};

BOOST_AUTO_TEST_CASE(the_loop_on_one_thread_and_its_users_on_others)
{
    asio::io_context io;
    avirt::event_loop loop(io);
    const runner running(io);
    const auto user = [](int index) {
        asio::io_context own;
        const runner running_own(own);
        avirt::connection conn(own);
        conn.async_open("test:///default", asio::use_future).get();
        for (int i = 0; i < 10; ++i) {
            avirt::async_stream stream(own);
            const avirt::screenshot opener{"test"};
            stream.async_open(conn, opener, asio::use_future).get();
            std::size_t total = 0;
            std::vector<char> buffer(static_cast<std::size_t>(1000 * (index + 1)));
            error_code ec;
            while (!ec) {
                // Not use_future: ThreadSanitizer does not see how the threads share an exception_ptr.
                std::promise<error_code> promise;
                auto read = promise.get_future();
                stream.async_read_some(
                    asio::buffer(buffer),
                    [&total, promise = std::move(promise)](error_code e, std::size_t n) mutable {
                        total += n;
                        promise.set_value(e);
                    });
                ec = read.get();
            }
            if (ec != asio::error::eof)
                throw boost::system::system_error(ec);
            if (total != 33443)
                throw std::runtime_error("the picture has the wrong size");
            if (i % 2 == 0)
                stream.async_finish(asio::use_future).get();
        }
        conn.async_close(asio::use_future).get();
    };
    std::atomic<int> failures = 0;
    std::vector<std::thread> users;
    for (int i = 0; i < 3; ++i) {
        users.emplace_back([&, i] {
            try {
                user(i);
            }
            catch (const std::exception&) {
                ++failures;
            }
        });
    }
    for (auto& u : users)
        u.join();
    BOOST_TEST(failures == 0);
    loop.async_drain(asio::use_future).get();
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(cancelled_on_one_thread_while_the_loop_delivers_on_another)
{
    asio::io_context io;
    avirt::event_loop loop(io);
    std::size_t total = 0;
    {
        const runner running(io);
        asio::io_context own;
        avirt::connection conn(own);
        avirt::async_stream stream(own);
        auto opened = conn.async_open("test:///default", asio::use_future);
        own.run();
        opened.get();
        own.restart();
        auto started = stream.async_open(conn, avirt::screenshot{"test"}, asio::use_future);
        own.run();
        started.get();
        std::array<char, 100> buffer{};
        error_code ec;
        while (ec != asio::error::eof) {
            stream.async_read_some(asio::buffer(buffer), [&](error_code e, std::size_t n) {
                ec = e;
                total += n;
            });
            stream.cancel(); // Data that was delivered before is not lost.
            own.restart();
            own.run();
        }
        stream.close();
        conn.close();
        own.restart();
        own.run();
        loop.async_drain(asio::use_future).get();
    }
    BOOST_TEST(total == 33443u);
}

BOOST_AUTO_TEST_CASE(several_threads_run_one_context)
{
    asio::io_context io;
    avirt::event_loop loop(io);
    {
        const runner running(io, 3);
        avirt::connection conn(io);
        conn.async_open("test:///default", asio::use_future).get();
        for (int i = 0; i < 10; ++i) {
            avirt::async_stream stream(io);
            const avirt::screenshot opener{"test"};
            stream.async_open(conn, opener, asio::use_future).get();
            std::string text(33443, '\0');
            BOOST_TEST(asio::async_read(stream, asio::buffer(text), asio::use_future).get() == 33443u);
        }
        conn.async_close(asio::use_future).get();
        loop.async_drain(asio::use_future).get();
    }
    BOOST_TEST(loop.is_idle());
}

BOOST_AUTO_TEST_CASE(a_handler_that_waits_holds_up_neither_the_loop_nor_other_handlers)
{
    asio::io_context io;
    avirt::event_loop loop(io);
    const runner running(io, 2);
    avirt::connection conn(io);
    conn.async_open("test:///default", asio::use_future).get();
    const auto apply = [&](int (*change)(virDomainPtr)) {
        return conn.async_call(
            [change](virConnectPtr c) {
                return change(avirt::domain{virDomainLookupByName(c, "test")}.get());
            },
            asio::use_future);
    };
    lifecycle_source sources[]{lifecycle_source(conn), lifecycle_source(conn)};
    for (auto& s : sources)
        s.async_subscribe(asio::use_future).get();
    // One dispatch completes both receives. The handler of the first waits for that of the second, which
    // waits for another event.
    std::promise<error_code> first, second;
    auto second_done = second.get_future();
    sources[0].async_receive([&](error_code ec, auto) {
        const auto status = second_done.wait_for(std::chrono::seconds(30));
        first.set_value(status == std::future_status::ready ? ec : error_code(asio::error::timed_out));
    });
    sources[1].async_receive([&](error_code, auto) {
        sources[1].async_receive([&](error_code ec, auto) { second.set_value(ec); });
        apply(virDomainResume);
    });
    apply(virDomainSuspend).get();
    BOOST_TEST(first.get_future().get() == error_code());
    for (auto& s : sources)
        s.async_unsubscribe(asio::use_future).get();
    conn.async_close(asio::use_future).get();
    loop.async_drain(asio::use_future).get();
}

BOOST_AUTO_TEST_CASE(handlers_are_destroyed_uninvoked_with_their_context)
{
    // The loop outlives the context: libvirt's stream callbacks must not access what has been destroyed.
    support::loop_fixture loop;
    const auto held = std::make_shared<int>();
    bool was_invoked = false;
    std::optional<asio::io_context> io(std::in_place);
    avirt::connection conn(*io);
    avirt::async_stream stream(*io);
    outcome opened;
    conn.async_open("test:///default", opened.handler());
    support::run_until(*io, [&] { return opened.calls() > 0; });
    outcome started;
    stream.async_open(conn, avirt::screenshot{"test"}, started.handler());
    support::run_until(*io, [&] { return started.calls() > 0; });
    std::array<char, 100> buffer{};
    const auto handler = [held, &was_invoked](error_code, auto...) { was_invoked = true; };
    stream.async_read_some(asio::buffer(buffer), handler);
    stream.async_wait(wait_type::write, handler);
    conn.async_call(virConnectNumOfDomains, handler);
    BOOST_TEST(held.use_count() > 2);
    io.reset();
    BOOST_TEST(held.use_count() == 2);
    loop.run_until([&] { return loop.loop.stats().running_calls + loop.loop.stats().queued_calls == 0; });
    stream.async_wait(wait_type::error, handler); // Without a context, no handler can be invoked.
    conn.async_call(virConnectNumOfDomains, handler);
    conn.async_close(handler);
    BOOST_TEST(held.use_count() == 2);
    BOOST_TEST(!was_invoked);
    stream.close();
    conn.close();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
