// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <avirt/picture.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/relay.hpp>
#include <avirt/send_all.hpp>
#include <support/cancellation_types.hpp>
#include <support/coroutine.hpp>
#include <support/open_files.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/test_case.hpp>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

// The whole-stream algorithms with streams of libvirt's test driver.

namespace {

namespace data = boost::unit_test::data;
using avirt::picture;
using avirt::progress;

const std::string& expected_picture()
{
    static const std::string p = [] {
        std::ifstream file("/usr/share/libvirt/test-screenshot.png", std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    }();
    return p;
}

std::string text_of(const picture& p)
{
    return {reinterpret_cast<const char*>(p.bytes.data()), p.bytes.size()};
}

struct whole_stream_fixture : operations_fixture
{
    /// Returns a handler that keeps the picture.
    auto keep_picture()
    {
        return [this, note = taken.handler()](error_code ec, picture p) {
            screen = std::move(p);
            note(ec);
        };
    }

    auto keep_progress()
    {
        return [this, note = taken.handler()](error_code ec, progress p) { note(ec, p.bytes); };
    }

    outcome taken;
    picture screen;
};

BOOST_FIXTURE_TEST_SUITE(whole_stream, whole_stream_fixture)

BOOST_AUTO_TEST_CASE(a_picture_and_its_type)
{
    open_connection();
    avirt::async_screenshot(conn, avirt::screenshot{"test"}, keep_picture());
    check_result(taken);
    BOOST_TEST(screen.mime_type == "image/png");
    BOOST_TEST(screen.bytes.size() == 33443u);
    BOOST_TEST((text_of(screen) == expected_picture()));
}

BOOST_AUTO_TEST_CASE(no_picture_of_a_domain_that_does_not_exist)
{
    open_connection();
    avirt::error_details details;
    avirt::async_screenshot(conn, avirt::screenshot{"nothing"}, avirt::with_details(keep_picture(), details));
    run_until_done(taken);
    BOOST_TEST((taken.ec() == avirt::condition::not_found));
    BOOST_TEST(!details.message.empty());
    BOOST_TEST(screen.mime_type.empty());
    BOOST_TEST(screen.bytes.empty());
}

BOOST_AUTO_TEST_CASE(no_picture_without_a_connection)
{
    avirt::async_screenshot(conn, avirt::screenshot{"test"}, keep_picture());
    check_result(taken, avirt::error::not_open);
}

BOOST_DATA_TEST_CASE(
    a_picture_is_cancelled, data::make(support::every_cancellation_type) * data::xrange(12), type, handlers)
{
    open_connection();
    asio::cancellation_signal signal;
    avirt::async_screenshot(
        conn, avirt::screenshot{"test"}, asio::bind_cancellation_slot(signal.slot(), keep_picture()));
    for (int i = 0; i < handlers && taken.calls() == 0; ++i) // The stages that the operation goes through.
        io.run_one();
    signal.emit(type);
    run_until_done(taken);
    BOOST_TEST(taken.calls() == 1);
    if (taken.ec()) {
        BOOST_TEST(taken.ec() == aborted);
        BOOST_TEST(screen.bytes.empty());
    }
    taken = {};
    avirt::async_screenshot(conn, avirt::screenshot{"test"}, keep_picture()); // The connection is kept.
    check_result(taken);
}

BOOST_AUTO_TEST_CASE(pictures_in_a_coroutine)
{
    open_connection();
    support::run_coroutine(*this, [&]() -> asio::awaitable<void> {
        const auto named = co_await avirt::async_screenshot(conn, avirt::screenshot{std::string("test")});
        BOOST_TEST((text_of(named) == expected_picture()));
        auto later = avirt::async_screenshot(
            conn, avirt::screenshot{std::string("a name that is too long for the small string buffer")},
            asio::deferred);
        BOOST_CHECK_THROW(co_await std::move(later), boost::system::system_error);
        BOOST_CHECK_THROW(
            co_await avirt::async_screenshot(
                conn, avirt::screenshot{"nothing"}, avirt::with_details(asio::use_awaitable)),
            avirt::exception);
    });
}

BOOST_AUTO_TEST_CASE(received_into_memory)
{
    open_stream();
    std::string text;
    avirt::async_receive_all(stream, asio::dynamic_buffer(text), {}, keep_progress());
    check_result(taken);
    BOOST_TEST(taken.bytes() == expected_picture().size());
    BOOST_TEST((text == expected_picture()));
    outcome finished; // That is left to the application.
    stream.async_finish(finished.handler());
    check_result(finished);
}

BOOST_AUTO_TEST_CASE(a_part_is_received)
{
    open_stream();
    avirt::transfer_options options;
    options.offset = 10'000;
    options.length = 20'000;
    std::string text;
    avirt::async_receive_all(stream, asio::dynamic_buffer(text), options, keep_progress());
    check_result(taken);
    BOOST_TEST((text == expected_picture().substr(10'000, 20'000)));
}

BOOST_AUTO_TEST_CASE(sent_to_a_socket)
{
    open_stream();
    asio::local::stream_protocol::socket near(io), far(io);
    asio::local::connect_pair(near, far);
    avirt::async_send_all(near, stream, {}, keep_progress());
    check_result(taken);
    near.close();
    std::string text;
    error_code ec;
    asio::read(far, asio::dynamic_buffer(text), ec);
    BOOST_TEST((text == expected_picture()));
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_not_open)
{
    std::string text;
    avirt::async_receive_all(stream, asio::dynamic_buffer(text), {}, keep_progress());
    check_result(taken, avirt::error::not_open);
    outcome sent;
    avirt::async_send_all(
        stream, asio::buffer("x", 1), {}, [&, h = sent.handler()](error_code ec, progress) { h(ec); });
    check_result(sent, avirt::error::not_open);
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_closed_meanwhile)
{
    open_stream();
    const auto close = [&](asio::const_buffer) { stream.close(); };
    avirt::async_receive_all(stream, close, {}, keep_progress());
    check_result(taken, avirt::error::not_open);
    BOOST_TEST(taken.bytes() > 0u);
}

BOOST_AUTO_TEST_CASE(the_details_of_a_failure)
{
    open_stream();
    avirt::error_details details;
    stream.stop_at_holes(true); // The driver does not know holes.
    std::string text;
    avirt::async_receive_all(
        stream, asio::dynamic_buffer(text), {}, avirt::with_details(keep_progress(), details));
    run_until_done(taken);
    BOOST_TEST((taken.ec() == avirt::condition::not_supported));
    BOOST_TEST(!details.message.empty());
}

BOOST_AUTO_TEST_CASE(defaults_and_temporaries_in_a_coroutine)
{
    open_stream();
    support::run_coroutine(*this, [&]() -> asio::awaitable<void> {
        std::string text;
        const auto received = co_await avirt::async_receive_all(stream, asio::dynamic_buffer(text));
        BOOST_TEST(received.bytes == expected_picture().size());
        BOOST_TEST((text == expected_picture()));
    });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(whole_stream_contexts)

BOOST_DATA_TEST_CASE(a_picture_ends_with_its_context, data::xrange(16), handlers)
{
    const auto files = [] {
        operations_fixture().open_stream();
        return support::open_files();
    }();
    const auto held = std::make_shared<int>();
    {
        std::optional<asio::io_context> io(std::in_place);
        std::optional<avirt::event_loop> loop(std::in_place, *io);
        bool has_started = false;
        const auto take = [&, held]() -> asio::awaitable<void> {
            const auto in_the_frame = held;
            avirt::connection conn(*io);
            co_await conn.async_open("test:///default");
            has_started = true;
            co_await avirt::async_screenshot(conn, avirt::screenshot{"test"});
        };
        asio::co_spawn(*io, take, asio::detached);
        support::run_until(*io, [&] { return has_started; });
        for (int i = 0; i < handlers; ++i) // The stages that the operation goes through.
            io->poll_one();
        loop.reset();
        io.reset();
    }
    BOOST_TEST(held.use_count() == 1);
    BOOST_TEST(support::eventually([&] { return support::open_files() <= files; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
