// SPDX-License-Identifier: BSL-1.0
#include "transfer_fixture.hpp"

#include <avirt/relay.hpp>
#include <support/cancellation_types.hpp>
#include <support/outcome.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/test/data/test_case.hpp>

#include <tuple>
#include <utility>

namespace {

namespace data = boost::unit_test::data;

/// What a relay has completed with.
class relay_outcome
{
public:
    auto handler() const
    {
        return [s = state_](error_code ec, std::uint64_t a_to_b, std::uint64_t b_to_a) {
            *s = {std::get<0>(*s) + 1, ec, a_to_b, b_to_a};
        };
    }

    bool is_done() const noexcept
    {
        return std::get<0>(*state_) > 0;
    }

    std::tuple<int, error_code, std::uint64_t, std::uint64_t> result() const
    {
        return *state_;
    }

private:
    std::shared_ptr<std::tuple<int, error_code, std::uint64_t, std::uint64_t>> state_ =
        std::make_shared<std::tuple<int, error_code, std::uint64_t, std::uint64_t>>();
};

/// A relay between the near ends of two pairs, whose far ends are called left and right.
struct relay_fixture : transfer_fixture
{
    void check(const relay_outcome& o, const error_code& ec, std::uint64_t a_to_b, std::uint64_t b_to_a)
    {
        run_until([&] { return o.is_done(); });
        const auto [calls, error, to_b, to_a] = o.result();
        BOOST_TEST(calls == 1);
        BOOST_TEST(error == ec);
        BOOST_TEST(to_b == a_to_b);
        BOOST_TEST(to_a == b_to_a);
    }

    /// Reads so many bytes.
    std::string read(local_socket& from, std::size_t size)
    {
        std::string text(size, '\0');
        support::outcome o;
        asio::async_read(from, asio::buffer(text), o.handler());
        run_until([&] { return o.calls() > 0; });
        BOOST_TEST(!o.ec());
        return text;
    }

    local_socket& a = source.near;
    local_socket& b = sink.near;
    local_socket& left = source.far;
    local_socket& right = sink.far;
};

/// A layer above a socket, without its shutdown().
template <class Layer>
struct layer
{
    using executor_type = local_socket::executor_type;

    explicit layer(local_socket& s) : socket_(s) {}

    executor_type get_executor()
    {
        return socket_.get_executor();
    }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token)
    {
        return socket_.async_read_some(buffers, std::forward<Token>(token));
    }

    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token)
    {
        return socket_.async_write_some(buffers, std::forward<Token>(token));
    }

    local_socket& socket_;
};

/// It cannot be shut down.
struct opaque_layer : layer<opaque_layer>
{
    using layer::layer;
};

/// The layer below it can.
struct transparent_layer : layer<transparent_layer>
{
    using layer::layer;

    local_socket& next_layer()
    {
        return socket_;
    }
};

/// It has an end of its own, and its reads and writes can only be cancelled terminally, as those of TLS.
struct tls_layer : layer<tls_layer>
{
    using layer::layer;

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token)
    {
        return compose(
            [this, buffers](auto handler) { socket_.async_read_some(buffers, std::move(handler)); }, token);
    }

    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token)
    {
        return compose(
            [this, buffers](auto handler) { socket_.async_write_some(buffers, std::move(handler)); }, token);
    }

    local_socket& next_layer()
    {
        return socket_;
    }

    template <class Token>
    auto async_shutdown(Token&& token)
    {
        return asio::async_initiate<Token, void(error_code)>([](auto) {}, token);
    }

private:
    template <class Start, class Token>
    auto compose(Start start, Token& token)
    {
        return asio::async_compose<Token, void(error_code, std::size_t)>(
            [start, has_begun = false](auto& self, error_code ec = {}, std::size_t n = 0) mutable {
                if (std::exchange(has_begun, true))
                    self.complete(ec, n);
                else
                    start(std::move(self));
            },
            token, socket_);
    }
};

BOOST_FIXTURE_TEST_SUITE(relay, relay_fixture)

BOOST_AUTO_TEST_CASE(both_ways)
{
    relay_outcome o;
    avirt::async_relay(a, b, o.handler());
    for (int round = 0; round < 10; ++round) {
        asio::write(left, asio::buffer("question", 8));
        BOOST_TEST(read(right, 8) == "question");
        asio::write(right, asio::buffer("answer", 6));
        BOOST_TEST(read(left, 6) == "answer");
    }
    left.shutdown(asio::socket_base::shutdown_send);
    settle();
    BOOST_TEST(!o.is_done());
    asio::write(right, asio::buffer("last", 4)); // The other direction goes on.
    BOOST_TEST(read(left, 4) == "last");
    char rest = 0;
    error_code ec;
    asio::read(right, asio::buffer(&rest, 1), ec);
    BOOST_TEST(ec == asio::error::eof);
    right.shutdown(asio::socket_base::shutdown_send);
    check(o, {}, 80, 64);
}

BOOST_AUTO_TEST_CASE(much_at_the_same_time)
{
    const auto to_right = random_bytes(5'000'000, 1), to_left = random_bytes(4'000'000, 2);
    relay_outcome o;
    avirt::async_relay(a, b, o.handler());
    feed(left, to_right);
    feed(right, to_left);
    const auto at_right = drain(right), at_left = drain(left);
    check(o, {}, to_right.size(), to_left.size());
    run_until([&] { return at_right->has_ended && at_left->has_ended; });
    BOOST_TEST((at_right->text == to_right));
    BOOST_TEST((at_left->text == to_left));
}

BOOST_AUTO_TEST_CASE(a_slow_reader_holds_up_one_direction_only)
{
    relay_outcome o;
    avirt::async_relay(a, b, o.handler());
    feed(left, random_bytes(20'000'000));
    settle(); // The right one reads nothing.
    for (int i = 0; i < 10; ++i) {
        asio::write(right, asio::buffer("answer", 6));
        BOOST_TEST(read(left, 6) == "answer");
    }
    BOOST_TEST(!o.is_done());
    const auto at_right = drain(right);
    right.shutdown(asio::socket_base::shutdown_send);
    check(o, {}, 20'000'000, 60);
    run_until([&] { return at_right->has_ended; });
    BOOST_TEST((at_right->text == random_bytes(20'000'000)));
}

BOOST_AUTO_TEST_CASE(a_stream_that_cannot_be_shut_down_ends_the_relay)
{
    opaque_layer closed(b);
    relay_outcome o;
    avirt::async_relay(a, closed, o.handler());
    asio::write(right, asio::buffer("answer", 6));
    BOOST_TEST(read(left, 6) == "answer");
    feed(left, "question");
    check(o, {}, 8, 6);
    BOOST_TEST(read(right, 8) == "question");
    b.close();
    char c = 0;
    error_code ec;
    asio::read(right, asio::buffer(&c, 1), ec);
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(the_other_end_first)
{
    opaque_layer closed(b);
    relay_outcome o;
    avirt::async_relay(a, closed, o.handler());
    feed(right, "answer"); // The socket can be shut down: the other direction goes on.
    BOOST_TEST(read(left, 6) == "answer");
    settle();
    BOOST_TEST(!o.is_done());
    feed(left, "question");
    check(o, {}, 8, 6);
}

BOOST_AUTO_TEST_CASE(a_layer_that_can_be_shut_down_below)
{
    transparent_layer open(b);
    relay_outcome o;
    avirt::async_relay(a, open, o.handler());
    feed(left, "question");
    const auto at_right = drain(right);
    run_until([&] { return at_right->has_ended; });
    BOOST_TEST(at_right->text == "question");
    BOOST_TEST(!o.is_done());
    feed(right, "answer");
    check(o, {}, 8, 6);
}

BOOST_AUTO_TEST_CASE(the_end_of_tls_is_not_faked)
{
    tls_layer tls(b);
    relay_outcome o;
    avirt::async_relay(a, tls, o.handler());
    feed(left, "question");
    check(o, {}, 8, 0);
    BOOST_TEST(read(right, 8) == "question");
    error_code ec;
    char c = 0;
    right.non_blocking(true);
    right.read_some(asio::buffer(&c, 1), ec);
    BOOST_TEST(ec == asio::error::would_block);
}

BOOST_AUTO_TEST_CASE(the_end_while_tls_takes_no_more)
{
    opaque_layer closed(a);
    tls_layer tls(b);
    relay_outcome o;
    avirt::async_relay(closed, tls, o.handler());
    feed(left, random_bytes(20'000'000)); // more than the sockets take
    settle();
    feed(right, "");
    run_until([&] { return o.is_done(); });
    BOOST_TEST(std::get<1>(o.result()) == error_code());
}

BOOST_AUTO_TEST_CASE(streams_of_beast)
{
    asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    boost::beast::tcp_stream stream(io);
    stream.socket().connect(acceptor.local_endpoint());
    auto peer = acceptor.accept();
    relay_outcome o;
    avirt::async_relay(stream, a, o.handler());
    feed(left, "question");
    std::string text;
    bool has_ended = false;
    asio::async_read(peer, asio::dynamic_buffer(text), [&](error_code, std::size_t) { has_ended = true; });
    run_until([&] { return has_ended; });
    BOOST_TEST(text == "question");
    asio::write(peer, asio::buffer("answer", 6));
    peer.close();
    check(o, {}, 6, 8);
}

BOOST_DATA_TEST_CASE(an_error_of_either_side, data::make({false, true}), is_left)
{
    relay_outcome o;
    avirt::async_relay(a, b, o.handler());
    asio::write(left, asio::buffer("question", 8));
    asio::write(right, asio::buffer("answer", 6));
    settle();
    (is_left ? left : right).close(); // With unread data.
    check(o, asio::error::connection_reset, 8, 6);
}

BOOST_AUTO_TEST_CASE(a_side_that_takes_no_more)
{
    relay_outcome o;
    avirt::async_relay(a, b, o.handler());
    right.shutdown(asio::socket_base::shutdown_receive);
    asio::write(left, asio::buffer("question", 8));
    check(o, asio::error::broken_pipe, 0, 0);
}

BOOST_DATA_TEST_CASE(cancelled, data::make(support::every_cancellation_type) * data::xrange(3), type, stage)
{
    asio::cancellation_signal signal;
    relay_outcome o;
    std::uint64_t answered = 0;
    avirt::async_relay(a, b, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    if (stage == 1) { // One direction is writing.
        feed(left, random_bytes(20'000'000));
        asio::write(right, asio::buffer("answer", 6));
        answered = 6;
    }
    if (stage == 2) { // One direction is over.
        left.shutdown(asio::socket_base::shutdown_send);
        settle();
        BOOST_TEST(!o.is_done());
    }
    settle();
    signal.emit(type);
    run_until([&] { return o.is_done(); });
    BOOST_TEST(std::get<1>(o.result()) == aborted);
    BOOST_TEST(std::get<3>(o.result()) == answered);
    b.close();
    const auto at_right = drain(right);
    run_until([&] { return at_right->has_ended; });
    BOOST_TEST(std::get<2>(o.result()) == at_right->text.size());
}

BOOST_DATA_TEST_CASE(cancelled_before_it_begins, data::make(support::every_cancellation_type), type)
{
    asio::cancellation_signal signal;
    relay_outcome o;
    avirt::async_relay(a, b, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    signal.emit(type);
    check(o, aborted, 0, 0);
}

BOOST_DATA_TEST_CASE(ends_with_its_context, data::xrange(4), stage)
{
    const auto held = std::make_shared<int>();
    {
        relay_fixture f;
        if (stage == 1)
            f.feed(f.left, random_bytes(20'000'000));
        if (stage == 2)
            f.left.shutdown(asio::socket_base::shutdown_send);
        asio::co_spawn(
            f.io,
            [&]() -> asio::awaitable<void> {
                const auto in_the_frame = held;
                co_await avirt::async_relay(f.a, f.b, asio::use_awaitable);
            },
            asio::detached);
        if (stage == 3)
            f.io.poll_one();
        else
            f.settle();
        BOOST_TEST(held.use_count() > 1);
    }
    BOOST_TEST(held.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(launched_later)
{
    auto operation = avirt::async_relay(a, b, asio::deferred);
    asio::write(left, asio::buffer("question", 8));
    settle();
    relay_outcome o;
    std::move(operation)(o.handler());
    BOOST_TEST(read(right, 8) == "question");
    left.close();
    right.close();
    check(o, {}, 8, 0);
}

BOOST_AUTO_TEST_CASE(in_a_coroutine)
{
    const auto strand = asio::make_strand(io);
    bool is_done = false;
    const auto serve = [&]() -> asio::awaitable<void> {
        const auto [to_b, to_a] = co_await avirt::async_relay(a, b);
        BOOST_TEST(to_b == 8u);
        BOOST_TEST(to_a == 0u);
        BOOST_TEST(strand.running_in_this_thread());
        is_done = true;
    };
    asio::co_spawn(strand, serve, asio::detached);
    feed(left, "question");
    BOOST_TEST(read(right, 8) == "question");
    right.close();
    run_until([&] { return is_done; });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
