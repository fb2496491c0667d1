// SPDX-License-Identifier: BSL-1.0
#include "stream_fixture.hpp"

#include <boost/asio/read.hpp>
#include <boost/test/data/test_case.hpp>

#include <array>

namespace {

struct read_fixture : stream_fixture
{
    std::array<char, 64> memory{};
    outcome read;

    void start_read(std::size_t size = 64)
    {
        stream.async_read_some(asio::buffer(memory, size), read.handler());
    }

    std::string text() const
    {
        return {memory.data(), read.bytes()};
    }
};

BOOST_FIXTURE_TEST_SUITE(stream_read, read_fixture)

BOOST_AUTO_TEST_CASE(what_is_there_before_the_read_and_what_comes_later)
{
    open();
    fake->deliver("first");
    start_read();
    run_until_done(read);
    BOOST_TEST(text() == "first");

    read = {};
    start_read();
    settle();
    BOOST_TEST(!read);
    fake->deliver("second");
    run_until_done(read);
    BOOST_TEST(text() == "second");
}

BOOST_AUTO_TEST_CASE(all_buffers_are_filled_one_after_the_other)
{
    open();
    std::array<char, 3> first{};
    std::array<char, 2> second{};
    const std::array<asio::mutable_buffer, 4> buffers{
        asio::buffer(first), asio::mutable_buffer(), asio::buffer(second), asio::buffer(memory)};
    for (const bool waits : {false, true}) {
        if (!waits)
            fake->deliver("abcdefgh");
        read = {};
        stream.async_read_some(buffers, read.handler());
        if (waits) {
            settle();
            BOOST_TEST(!read);
            fake->deliver("ABCDEFGH");
        }
        run_until_done(read);
        check(read, {}, 8);
        const auto expected = waits ? std::string("ABCDEFGH") : std::string("abcdefgh");
        BOOST_TEST(std::string(first.data(), 3) == expected.substr(0, 3));
        BOOST_TEST(std::string(second.data(), 2) == expected.substr(3, 2));
        BOOST_TEST(std::string(memory.data(), 3) == expected.substr(5));
    }
    BOOST_TEST(fake->receives() == 2);
}

BOOST_AUTO_TEST_CASE(a_large_first_buffer_receives_alone)
{
    open();
    const auto expected = random_text(150'000);
    std::string first(100'000, '\0'), second(100'000, '\0');
    fake->deliver(expected);
    stream.async_read_some(std::array{asio::buffer(first), asio::buffer(second)}, read.handler());
    run_until_done(read);
    check(read, {}, first.size());
    BOOST_TEST((first == expected.substr(0, first.size())));
}

BOOST_AUTO_TEST_CASE(as_many_buffers_as_there_are)
{
    open();
    std::array<asio::mutable_buffer, 64> buffers;
    for (std::size_t i = 0; i < buffers.size(); ++i)
        buffers[i] = asio::buffer(&memory[i], 1);
    const auto text_of_64 = random_text(64);
    fake->deliver(text_of_64);
    stream.async_read_some(buffers, read.handler());
    run_until_done(read);
    BOOST_TEST(text() == text_of_64);
}

BOOST_AUTO_TEST_CASE(no_more_than_the_buffer_takes)
{
    open();
    fake->deliver("abcdef");
    start_read(4);
    run_until_done(read);
    BOOST_TEST(text() == "abcd");
    BOOST_TEST(memory[4] == '\0');
    read = {};
    start_read(4);
    run_until_done(read);
    BOOST_TEST(text() == "ef");
}

BOOST_DATA_TEST_CASE(
    everything_in_order_whatever_the_fragments,
    boost::unit_test::data::make({1u, 3u, 1000u, 4096u}) * boost::unit_test::data::make({1u, 7u, 4096u}),
    fragment, buffer_size)
{
    open();
    const auto expected = random_text(20000);
    fake->break_into(fragment);
    fake->deliver(expected);
    fake->deliver_eof();
    std::string received;
    std::vector<char> buffer(buffer_size);
    outcome end;
    std::function<void()> next = [&] {
        stream.async_read_some(asio::buffer(buffer), [&](error_code ec, std::size_t n) {
            received.append(buffer.data(), n);
            if (ec)
                end.handler()(ec, n);
            else
                next();
        });
    };
    next();
    run_until_done(end);
    check(end, asio::error::eof);
    BOOST_TEST((received == expected));
}

BOOST_AUTO_TEST_CASE(eof_once_and_again_without_asking_libvirt)
{
    open();
    fake->deliver_eof();
    for (int i = 0; i < 3; ++i) {
        read = {};
        start_read();
        run_until_done(read);
        check(read, asio::error::eof);
    }
    BOOST_TEST(fake->receives() == 1);
    BOOST_TEST(stream.is_open());
}

BOOST_AUTO_TEST_CASE(an_error_once_and_again_with_libvirts_sentence)
{
    open();
    fake->deliver_error("the guest is on fire");
    for (int i = 0; i < 2; ++i) {
        avirt::error_details why;
        read = {};
        stream.async_read_some(asio::buffer(memory), avirt::with_details(read.handler(), why));
        run_until_done(read);
        check(read, error_code(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category()));
        BOOST_TEST(why.message == "the guest is on fire");
        BOOST_TEST(why.domain == VIR_FROM_STREAMS);
    }
    BOOST_TEST(fake->receives() == 1);
    BOOST_TEST(stream.is_open());
}

BOOST_AUTO_TEST_CASE(data_sent_before_a_hang_up_comes_first)
{
    open();
    fake->break_into(1);
    fake->deliver("bye");
    fake->deliver_eof();
    fake->report(VIR_STREAM_EVENT_HANGUP);
    std::string received;
    outcome end;
    asio::async_read(stream, asio::dynamic_buffer(received), end.handler());
    run_until_done(end);
    check(end, asio::error::eof, 3);
    BOOST_TEST(received == "bye");
}

BOOST_AUTO_TEST_CASE(nothing_to_receive_after_all)
{
    open();
    start_read();
    settle();
    fake->report(VIR_STREAM_EVENT_READABLE); // The read receives nothing and keeps waiting.
    run_until([&] { return fake->receives() == 1; });
    settle();
    BOOST_TEST(!read);
    fake->deliver("x");
    run_until_done(read);
    BOOST_TEST(text() == "x");
}

BOOST_AUTO_TEST_CASE(one_at_a_time)
{
    open();
    start_read();
    std::array<char, 8> other{};
    outcome second;
    stream.async_read_some(asio::buffer(other), second.handler());
    run_until_done(second);
    check(second, avirt::error::operation_in_progress);
    BOOST_TEST(!read);
    fake->deliver("data");
    run_until_done(read);
    BOOST_TEST(text() == "data");
    BOOST_TEST(other[0] == '\0');
}

BOOST_AUTO_TEST_CASE(nothing_at_all_into_empty_buffers)
{
    open();
    fake->deliver("abc");
    settle();
    start_read(0);
    BOOST_TEST(!read);
    run_until_done(read);
    check(read, {});
    read = {};
    stream.async_read_some(std::array<asio::mutable_buffer, 3>{}, read.handler());
    BOOST_TEST(!read);
    run_until_done(read);
    check(read, {});
    BOOST_TEST(fake->receives() == 0);
}

BOOST_AUTO_TEST_CASE(a_cancelled_read_takes_nothing)
{
    open();
    start_read();
    stream.cancel();
    fake->deliver("kept");
    run_until_done(read);
    check(read, aborted);
    settle();
    read = {};
    start_read();
    run_until_done(read);
    BOOST_TEST(text() == "kept");
}

BOOST_AUTO_TEST_CASE(nobody_reads_and_nothing_is_dispatched)
{
    open();
    start_read();
    fake->deliver("1");
    run_until_done(read);
    fake->deliver("2"); // One report more at most, then the event is not requested any more.
    settle();
    BOOST_TEST((fake->mask() & VIR_STREAM_EVENT_READABLE) == 0);
    const auto before = loop.stats().dispatched;
    settle();
    BOOST_TEST(loop.stats().dispatched == before);
    BOOST_TEST(fake->receives() == 1);
}

BOOST_AUTO_TEST_CASE(a_hang_up_that_stays_is_not_dispatched_for_ever)
{
    open();
    outcome failed;
    stream.async_wait(avirt::async_stream::wait_type::error, failed.handler());
    start_read();
    settle();
    fake->report(VIR_STREAM_EVENT_HANGUP);
    run_until_done(failed);
    fake->report(VIR_STREAM_EVENT_HANGUP);
    settle();
    BOOST_TEST(!read);
    fake->deliver_eof();
    run_until_done(read);
    check(read, asio::error::eof);
}

BOOST_AUTO_TEST_CASE(an_attempt_without_waiting)
{
    open();
    error_code ec;
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == asio::error::would_block);
    outcome readable;
    stream.async_wait(avirt::async_stream::wait_type::read, readable.handler());
    settle();
    BOOST_TEST(!readable);
    fake->deliver("hello");
    run_until_done(readable);
    check(readable, {});
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 5u);
    BOOST_TEST(ec == error_code());
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == asio::error::would_block);
    BOOST_TEST(stream.read_some(asio::buffer(memory, 0), ec) == 0u);
    BOOST_TEST(ec == error_code());
}

BOOST_AUTO_TEST_CASE(readable_is_told_for_eof_too_and_stays_told)
{
    open();
    fake->deliver_eof();
    for (int i = 0; i < 2; ++i) {
        outcome readable;
        stream.async_wait(avirt::async_stream::wait_type::read, readable.handler());
        BOOST_TEST(!readable);
        run_until_done(readable);
        check(readable, {});
    }
    error_code ec;
    for (int i = 0; i < 2; ++i) {
        BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
        BOOST_TEST(ec == asio::error::eof);
    }
    outcome readable;
    stream.async_wait(avirt::async_stream::wait_type::read, readable.handler());
    run_until_done(readable);
    check(readable, {});
}

BOOST_AUTO_TEST_CASE(waits_of_one_type_one_at_a_time)
{
    using wait_type = avirt::async_stream::wait_type;
    open();
    for (auto type : {wait_type::read, wait_type::write, wait_type::error}) {
        outcome first;
        outcome second;
        stream.async_wait(type, first.handler());
        stream.async_wait(type, second.handler());
        run_until_done(second);
        check(second, avirt::error::operation_in_progress);
        BOOST_TEST(!first);
        stream.cancel();
        run_until_done(first);
        check(first, aborted);
    }
}

BOOST_AUTO_TEST_CASE(all_waits_a_read_and_a_write_at_a_time)
{
    using wait_type = avirt::async_stream::wait_type;
    open();
    outcome readable;
    outcome writable;
    outcome failed;
    outcome write;
    stream.async_wait(wait_type::read, readable.handler());
    stream.async_wait(wait_type::write, writable.handler());
    stream.async_wait(wait_type::error, failed.handler());
    start_read();
    stream.async_write_some(asio::buffer("abc", 3), write.handler());
    settle();
    BOOST_TEST(readable.calls() + writable.calls() + failed.calls() + read.calls() + write.calls() == 0);
    fake->deliver("abc");
    run_until_done(read);
    BOOST_TEST(readable.calls() == 1);
    fake->take(3);
    run_until_done(write);
    BOOST_TEST(writable.calls() == 1);
    BOOST_TEST(!failed);
    fake->report(VIR_STREAM_EVENT_ERROR);
    run_until_done(failed);
    check(failed, {});
}

BOOST_AUTO_TEST_CASE(an_end_that_an_attempt_finds_is_told_to_who_waits_for_it)
{
    open();
    outcome over;
    stream.async_wait(avirt::async_stream::wait_type::error, over.handler());
    start_read();
    fake->deliver("x");
    run_until_done(read);
    settle();
    fake->deliver_eof();
    settle();
    error_code ec;
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == asio::error::eof);
    run_until_done(over);
    check(over, {});
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
