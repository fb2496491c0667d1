// SPDX-License-Identifier: BSL-1.0
#include "transfer_fixture.hpp"

#include <support/cancellation_types.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/test_case.hpp>

#include <array>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

namespace {

namespace data = boost::unit_test::data;

/// A function of unknown length: it gives as much as there is room, and counts its calls.
class text_source
{
public:
    text_source(std::string text, int& calls) : text_(std::move(text)), calls_(&calls) {}

    std::size_t operator()(asio::mutable_buffer room)
    {
        ++*calls_;
        const auto n = asio::buffer_copy(room, asio::buffer(text_) + position_);
        position_ += n;
        return n;
    }

private:
    std::string text_;
    std::size_t position_ = 0;
    int* calls_;
};

BOOST_FIXTURE_TEST_SUITE(send_all, transfer_fixture)

BOOST_AUTO_TEST_CASE(a_buffer)
{
    const auto text = random_bytes(3'000'000);
    const auto arrived = drain(sink.far);
    transfer_outcome o;
    avirt::async_send_all(sink.near, asio::buffer(text), options, o.handler());
    check(o, {}, text.size());
    BOOST_TEST(o.reached().total == text.size());
    check_received(sink.near, *arrived, text);
}

BOOST_AUTO_TEST_CASE(many_buffers)
{
    std::vector<std::string> texts;
    std::vector<asio::const_buffer> buffers;
    std::string all;
    for (unsigned i = 0; i < 1000; ++i) {
        texts.push_back(random_bytes(i % 7 == 0 ? 0 : i, i));
        all += texts.back();
    }
    for (const auto& t : texts)
        buffers.emplace_back(asio::buffer(t));
    const auto arrived = drain(sink.far);
    transfer_outcome o;
    avirt::async_send_all(sink.near, buffers, options, o.handler());
    buffers.clear(); // The sequence has been copied.
    check(o, {}, all.size());
    check_received(sink.near, *arrived, all);
}

BOOST_AUTO_TEST_CASE(empty_buffers)
{
    transfer_outcome none, empty;
    avirt::async_send_all(sink.near, asio::const_buffer(), options, none.handler());
    check(none, {}, 0);
    avirt::async_send_all(sink.near, std::array<asio::const_buffer, 3>(), options, empty.handler());
    check(empty, {}, 0);
}

BOOST_AUTO_TEST_CASE(every_part_of_the_buffers)
{
    const std::string text = "0123456789";
    const std::array buffers{asio::buffer(text, 3), asio::const_buffer(), asio::buffer(text) + 3};
    for (std::size_t offset = 0; offset <= 12; ++offset) {
        for (std::size_t length = 0; length <= 12; ++length) {
            BOOST_TEST_CONTEXT("offset " << offset << ", length " << length)
            {
                socket_pair pair(io);
                options.offset = offset;
                options.length = length;
                const auto arrived = drain(pair.far);
                transfer_outcome o;
                avirt::async_send_all(pair.near, buffers, options, o.handler());
                const auto expected =
                    text.substr(std::min(offset, text.size()), length == 0 ? std::string::npos : length);
                check(o, {}, expected.size());
                BOOST_TEST(o.reached().total == expected.size());
                check_received(pair.near, *arrived, expected);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(a_stream)
{
    const auto text = random_bytes(3'000'000);
    feed(source.far, text);
    const auto arrived = drain(sink.far);
    transfer_outcome o;
    avirt::async_send_all(sink.near, source.near, options, o.handler());
    check(o, {}, text.size());
    BOOST_TEST(o.reached().total == 0u);
    check_received(sink.near, *arrived, text);
}

BOOST_AUTO_TEST_CASE(a_function_is_called_only_if_there_is_room)
{
    const auto text = random_bytes(20'000'000);
    int calls = 0;
    transfer_outcome o;
    avirt::async_send_all(sink.near, text_source(text, calls), options, o.handler());
    settle();
    const auto calls_without_a_reader = calls;
    BOOST_TEST(calls_without_a_reader > 0);
    BOOST_TEST(calls_without_a_reader < 4); // Each gets a buffer of about a megabyte.
    settle();
    BOOST_TEST(calls == calls_without_a_reader);
    const auto arrived = drain(sink.far);
    check(o, {}, text.size());
    BOOST_TEST(o.reached().total == 0u);
    check_received(sink.near, *arrived, text);
}

BOOST_AUTO_TEST_CASE(a_function_is_not_called_inside_the_initiating_function)
{
    bool is_initiating = true;
    const auto end = [&](asio::mutable_buffer) {
        BOOST_TEST(!is_initiating);
        return std::size_t{0};
    };
    transfer_outcome o;
    asio::post(io, [&] {
        avirt::async_send_all(sink.near, end, options, o.handler());
        is_initiating = false;
    });
    check(o, {}, 0);
}

BOOST_AUTO_TEST_CASE(a_function_that_claims_too_much)
{
    const auto claim = [](asio::mutable_buffer room) { return room.size() + 1; };
    transfer_outcome o;
    avirt::async_send_all(sink.near, claim, options, o.handler());
    check(o, asio::error::invalid_argument, 0);
}

BOOST_AUTO_TEST_CASE(a_function_that_throws)
{
    int calls = 0;
    const auto fail = [&](asio::mutable_buffer room) -> std::size_t {
        if (++calls == 2)
            throw std::runtime_error("the tape is torn");
        std::memset(room.data(), 'x', 3);
        return 3;
    };
    transfer_outcome o;
    avirt::error_details details;
    avirt::async_send_all(sink.near, fail, options, avirt::with_details(o.handler(), details));
    check(o, avirt::error::call_threw, 3);
    BOOST_TEST(details.message == "the tape is torn");
}

BOOST_AUTO_TEST_CASE(a_function_that_throws_the_end_of_something_else)
{
    const auto fail = [](asio::mutable_buffer) -> std::size_t {
        throw boost::system::system_error(asio::error::eof);
    };
    transfer_outcome o;
    avirt::async_send_all(sink.near, fail, options, o.handler());
    check(o, avirt::error::call_threw, 0);
}

BOOST_AUTO_TEST_CASE(a_stream_that_fails)
{
    const auto text = random_bytes(100);
    sink.far.close();
    transfer_outcome o;
    avirt::async_send_all(sink.near, asio::buffer(text), options, o.handler());
    check(o, asio::error::broken_pipe, 0);
}

BOOST_DATA_TEST_CASE(cancelled_while_it_writes, data::make(support::every_cancellation_type), type)
{
    const auto text = random_bytes(20'000'000);
    asio::cancellation_signal signal;
    transfer_outcome o;
    avirt::async_send_all(
        sink.near, asio::buffer(text), options, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    settle();
    signal.emit(type);
    run_until_done(o);
    BOOST_TEST(o.ec() == aborted);
    const auto arrived = drain(sink.far);
    check_received(sink.near, *arrived, text.substr(0, static_cast<std::size_t>(o.reached().bytes)));
}

BOOST_AUTO_TEST_CASE(a_function_without_an_end_can_be_cancelled)
{
    const auto arrived = drain(sink.far);
    int calls = 0;
    asio::cancellation_signal signal;
    const auto always = [&](asio::mutable_buffer) {
        if (++calls == 100)
            signal.emit(asio::cancellation_type::total);
        return std::size_t{1};
    };
    transfer_outcome o;
    avirt::async_send_all(
        sink.near, always, options, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    run_until_done(o);
    BOOST_TEST(o.ec() == aborted);
    BOOST_TEST(calls < 105);
}

BOOST_AUTO_TEST_CASE(launched_later)
{
    const std::string text = "data";
    int calls = 0;
    const auto arrived = drain(sink.far);
    auto buffers = avirt::async_send_all(
        sink.near, std::vector<asio::const_buffer>(2, asio::buffer(text)), transfer_options(),
        asio::deferred);
    auto function =
        avirt::async_send_all(sink.near, text_source("more", calls), transfer_options(), asio::deferred);
    settle();
    BOOST_TEST(calls == 0);
    transfer_outcome first, second;
    std::move(buffers)(first.handler());
    check(first, {}, 8);
    std::move(function)(second.handler());
    check(second, {}, 4);
    check_received(sink.near, *arrived, "datadatamore");
}

BOOST_AUTO_TEST_CASE(temporaries_in_a_coroutine)
{
    const std::string text = "data";
    int calls = 0;
    bool is_done = false;
    const auto arrived = drain(sink.far);
    const auto send = [&]() -> asio::awaitable<void> {
        const auto p = co_await avirt::async_send_all(sink.near, asio::buffer(text));
        BOOST_TEST(p.bytes == 4u);
        co_await avirt::async_send_all(
            sink.near, std::vector<asio::const_buffer>(3, asio::buffer(text)), transfer_options(),
            asio::use_awaitable);
        co_await avirt::async_send_all(sink.near, text_source("more", calls));
        is_done = true;
    };
    asio::co_spawn(io, send, asio::detached);
    run_until([&] { return is_done; });
    check_received(sink.near, *arrived, "datadatadatadatamore");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
