// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <type_traits>

namespace {

using io_executor = asio::io_context::executor_type;
using strand = asio::strand<io_executor>;

/// Opens a connection and a stream of any executor type, and reads.
template <class Connection, class Stream>
void read_something(operations_fixture& r, Connection& conn, Stream& stream)
{
    outcome opened;
    conn.async_open("test:///default", opened.handler());
    r.check_result(opened);
    outcome started;
    stream.async_open(conn, avirt::screenshot{"test"}, started.handler());
    r.check_result(started);
    outcome read;
    stream.async_read_some(asio::buffer(r.memory), read.handler());
    r.check_result(read);
    BOOST_TEST(read.bytes() == r.memory.size());
}

BOOST_FIXTURE_TEST_SUITE(executor, operations_fixture)

BOOST_AUTO_TEST_CASE(of_an_io_context)
{
    avirt::basic_connection<io_executor> c(io);
    avirt::basic_async_stream<io_executor> s(io.get_executor());
    static_assert(std::is_same_v<decltype(s)::executor_type, io_executor>);
    BOOST_TEST((s.get_executor() == io.get_executor()));
    read_something(*this, c, s);
}

BOOST_AUTO_TEST_CASE(a_strand)
{
    const strand own = asio::make_strand(io);
    avirt::basic_connection<strand> c(own);
    avirt::basic_async_stream<strand> s(own);
    read_something(*this, c, s);
    bool in_strand = false;
    outcome o;
    s.async_read_some(asio::buffer(memory), [&, note = o.handler()](error_code ec, std::size_t n) {
        in_strand = own.running_in_this_thread();
        note(ec, n);
    });
    run_until_done(o);
    BOOST_TEST(in_strand);
}

BOOST_AUTO_TEST_CASE(a_strand_behind_any_executor)
{
    const strand own = asio::make_strand(io);
    avirt::connection c{asio::any_io_executor(own)};
    avirt::async_stream s{asio::any_io_executor(own)};
    read_something(*this, c, s);
    bool in_strand = false;
    outcome o;
    c.async_call(virConnectNumOfDomains, [&, note = o.handler()](error_code ec, int n) {
        in_strand = own.running_in_this_thread();
        note(ec, n);
    });
    run_until_done(o);
    BOOST_TEST(in_strand);
}

BOOST_AUTO_TEST_CASE(a_thread_pool)
{
    asio::thread_pool pool(3);
    avirt::basic_connection<asio::thread_pool::executor_type> c(pool);
    avirt::basic_async_stream<asio::thread_pool::executor_type> s(pool);
    auto opened = c.async_open("test:///default", asio::use_future);
    opened.get();
    auto work = asio::make_work_guard(io); // Between two operations libvirt may leave io without work.
    std::thread runner([&] { io.run(); });
    s.async_open(c, avirt::screenshot{"test"}, asio::use_future).get();
    const auto n = s.async_read_some(asio::buffer(memory), asio::use_future).get();
    BOOST_TEST(n == memory.size());
    s.async_finish(asio::use_future).get();
    c.async_close(asio::use_future).get();
    work.reset();
    runner.join();
    pool.join();
}

BOOST_AUTO_TEST_CASE(moved_to_another_executor_type_while_busy)
{
    avirt::basic_connection<io_executor> c(io);
    avirt::basic_async_stream<io_executor> s(io);
    read_something(*this, c, s);
    outcome wait;
    s.async_wait(avirt::basic_async_stream<io_executor>::wait_type::write, wait.handler());
    outcome call;
    c.async_call(virConnectNumOfDomains, call.handler());
    avirt::connection erased(std::move(c));
    avirt::async_stream erased_stream(std::move(s));
    BOOST_TEST(!c.is_open());
    BOOST_TEST(!s.is_open());
    BOOST_TEST(erased.is_open());
    BOOST_TEST(erased_stream.is_open());
    check_result(call);
    BOOST_TEST(!wait);
    outcome read;
    erased_stream.async_read_some(asio::buffer(memory), read.handler());
    check_result(read);
    erased_stream.close();
    check_result(wait, aborted);
    read_something(*this, c, s); // Moved-from objects can be used again.
}

BOOST_AUTO_TEST_CASE(carries_the_default_token)
{
    using token = asio::use_awaitable_t<>;
    volumes = std::make_shared<volume_daemon>();
    const auto& v = *volumes;
    asio::local::connect_pair(near_end, far_end);
    far_end.shutdown(far_end.shutdown_send);
    auto c = token::as_default_on(avirt::connection(io));
    auto s = token::as_default_on(avirt::async_stream(io));
    bool is_over = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const avirt::screenshot opener{"test"};
            const avirt::open_options options{"test:///default"};
            co_await c.async_open("test:///default");
            co_await c.async_close();
            co_await c.async_open(options);
            const int domains = co_await c.async_call(virConnectNumOfDomains);
            BOOST_TEST(domains == 1);
            co_await s.async_open(c, opener);
            co_await s.async_wait(wait_type::read);
            const std::size_t n = co_await s.async_read_some(asio::buffer(memory));
            BOOST_TEST(n == memory.size());
            co_await s.async_write_some(asio::const_buffer());
            co_await s.async_finish();
            co_await s.async_open(c, opener);
            co_await s.async_abort();
            const avirt::picture picture = co_await avirt::async_screenshot(c, opener);
            co_await s.async_open(c, opener);
            const avirt::progress received =
                co_await avirt::async_receive_all(s, asio::dynamic_buffer(all_received));
            BOOST_TEST(received.bytes == picture.bytes.size());
            const avirt::progress sent = co_await avirt::async_send_all(s, asio::const_buffer());
            BOOST_TEST(sent.bytes == 0u);
            const avirt::progress kept = co_await avirt::async_receive_sparse(s, v.file);
            BOOST_TEST(kept.bytes == 0u);
            const avirt::progress read = co_await avirt::async_send_sparse(s, v.file);
            BOOST_TEST(read.bytes == 0u);
            const auto [out, in] = co_await avirt::async_relay(s, near_end);
            BOOST_TEST(out + in == 0u);
            co_await s.async_finish();
            co_await c.async_close();
            co_await c.async_open(v.daemon.uri());
            const avirt::volume_info info = co_await avirt::async_volume_info(c, v.volume);
            BOOST_TEST(info.physical == v.size);
            const avirt::progress down = co_await avirt::async_download(c, v.volume, v.file);
            BOOST_TEST(down.bytes == v.size);
            const avirt::progress up = co_await avirt::async_upload(c, v.file, v.volume);
            BOOST_TEST(up.bytes == v.size);
            co_await c.async_close();
        },
        [&](std::exception_ptr e) { is_over = !e; });
    run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_CASE(carries_a_default_token_that_is_a_tuple)
{
    using token = asio::as_tuple_t<asio::use_awaitable_t<>>;
    using stream_type = token::as_default_on_t<avirt::basic_async_stream<io_executor>>;
    stream_type s(io);
    bool is_over = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const auto [ec, n] = co_await s.async_read_some(asio::buffer(memory));
            BOOST_TEST(ec == avirt::error::not_open);
            BOOST_TEST(n == 0u);
        },
        [&](std::exception_ptr e) { is_over = !e; });
    run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_CASE(rebinds)
{
    using rebound = avirt::async_stream::rebind_executor<strand>::other;
    static_assert(std::is_same_v<rebound, avirt::basic_async_stream<strand>>);
    using rebound_connection = avirt::connection::rebind_executor<strand>::other;
    static_assert(std::is_same_v<rebound_connection, avirt::basic_connection<strand>>);
    BOOST_TEST((&stream.lowest_layer() == &stream));
    BOOST_TEST((stream.get_executor() == asio::any_io_executor(io.get_executor())));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
