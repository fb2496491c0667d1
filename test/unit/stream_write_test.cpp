// SPDX-License-Identifier: BSL-1.0
#include "stream_fixture.hpp"

#include <support/cancellation_types.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/data/test_case.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace {

namespace data = boost::unit_test::data;
using asio::cancellation_type;

struct one_thread : stream_fixture
{
    one_thread() : stream_fixture({.max_threads = 1}) {}
};

struct write_fixture : stream_fixture
{
    outcome write;
    asio::cancellation_signal signal;

    void start_write(std::string_view text) // The text outlives the write.
    {
        stream.async_write_some(
            asio::buffer(text), asio::bind_cancellation_slot(signal.slot(), write.handler()));
    }

    bool is_inside_send()
    {
        return support::eventually([&] { return fake->sends() == 1; });
    }
};

BOOST_FIXTURE_TEST_SUITE(stream_write, write_fixture)

BOOST_DATA_TEST_CASE(everything_in_order_whatever_is_taken_at_a_time, data::make({1u, 17u, 65536u}), taken)
{
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        const auto expected = random_text(taken < 100 ? 2000 : 300000);
        outcome all;
        asio::async_write(stream, asio::buffer(expected), all.handler());
        while (!all) {
            const auto before = fake->sent().size();
            fake->take(taken);
            run_until([&] { return all || fake->sent().size() > before; });
        }
        check(all, {}, expected.size());
        BOOST_TEST((fake->sent() == expected));
        stream.close();
        run_until([&] { return fake->references() == 0; });
    }
}

BOOST_AUTO_TEST_CASE(small_buffers_share_a_send)
{
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        fake->take(100);
        write = {};
        const std::array<asio::const_buffer, 4> buffers{
            asio::buffer("ab", 2), asio::const_buffer(), asio::buffer("c", 1), asio::buffer("def", 3)};
        stream.async_write_some(buffers, write.handler());
        run_until_done(write);
        check(write, {}, 6);
        BOOST_TEST(fake->sent() == "abcdef");
        BOOST_TEST(fake->sends() == 1);
        stream.close();
        run_until([&] { return fake->references() == 0; });
    }
}

BOOST_AUTO_TEST_CASE(two_thousand_buffers)
{
    const auto text = random_text(40000);
    std::vector<asio::const_buffer> buffers;
    for (std::size_t i = 0; i < text.size(); i += 20)
        buffers.push_back(asio::buffer(text.data() + i, 20));
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        fake->take(text.size());
        outcome all;
        asio::async_write(stream, buffers, all.handler());
        run_until_done(all);
        check(all, {}, text.size());
        BOOST_TEST((fake->sent() == text));
        BOOST_TEST(fake->sends() == 2000 / 16); // asio::async_write shows a stream sixteen buffers at a time.
        write = {};
        fake->take(text.size());
        stream.async_write_some(buffers, write.handler());
        run_until_done(write);
        check(write, {}, text.size());
        BOOST_TEST(fake->sends() == 2000 / 16 + 1);
        BOOST_TEST((fake->sent() == text + text));
        stream.close();
        run_until([&] { return fake->references() == 0; });
    }
}

BOOST_AUTO_TEST_CASE(a_buffer_that_fills_a_packet_is_sent_alone)
{
    open();
    const auto large = random_text(300000);
    fake->take(400000);
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(large), asio::buffer("end", 3)};
    stream.async_write_some(buffers, write.handler());
    run_until_done(write);
    check(write, {}, large.size());
}

BOOST_AUTO_TEST_CASE(a_header_is_sent_with_what_follows_as_far_as_a_packet_takes_it)
{
    constexpr std::size_t packet = 262120;
    open();
    fake->take(1000000);
    std::string expected;
    for (const std::size_t size : {200000u, 300000u}) {
        const auto body = random_text(size);
        const std::array<asio::const_buffer, 2> buffers{asio::buffer("head", 4), asio::buffer(body)};
        write = {};
        stream.async_write_some(buffers, write.handler());
        run_until_done(write);
        const auto sent = std::min(size + 4, packet);
        check(write, {}, sent);
        expected += ("head" + body).substr(0, sent);
        BOOST_TEST((fake->sent() == expected));
    }
    BOOST_TEST(fake->sends() == 2);
}

BOOST_AUTO_TEST_CASE(what_there_is_room_for_at_once)
{
    open();
    fake->take(4);
    start_write("abcdef");
    BOOST_TEST(!write);
    run_until_done(write);
    check(write, {}, 4);
    BOOST_TEST(fake->sent() == "abcd");
}

BOOST_AUTO_TEST_CASE(waits_for_room)
{
    open();
    start_write("abc");
    settle();
    BOOST_TEST(!write);
    fake->take(2);
    run_until_done(write);
    check(write, {}, 2);
}

BOOST_AUTO_TEST_CASE(one_at_a_time)
{
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        write = {};
        start_write("first");
        outcome second;
        stream.async_write_some(asio::buffer("second", 6), second.handler());
        run_until_done(second);
        check(second, avirt::error::operation_in_progress);
        BOOST_TEST(!write);
        fake->take(100);
        run_until_done(write);
        check(write, {}, 5);
        BOOST_TEST(fake->sent() == "first");
        stream.close();
        run_until([&] { return fake->references() == 0; });
    }
}

BOOST_AUTO_TEST_CASE(nothing_at_all_from_empty_buffers)
{
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        write = {};
        start_write("");
        BOOST_TEST(!write);
        run_until_done(write);
        check(write, {});
        BOOST_TEST(fake->sends() == 0);
        stream.close();
    }
}

BOOST_AUTO_TEST_CASE(an_error_with_libvirts_sentence)
{
    for (const bool adopted : {false, true}) {
        adopted ? adopt() : open();
        fake->refuse_bytes("the pty is gone");
        avirt::error_details why;
        write = {};
        stream.async_write_some(asio::buffer("abc", 3), avirt::with_details(write.handler(), why));
        run_until_done(write);
        check(write, error_code(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category()));
        BOOST_TEST(why.message == "the pty is gone");
        stream.close();
        run_until([&] { return fake->references() == 0; });
    }
}

BOOST_AUTO_TEST_CASE(nobody_will_ever_take_it_after_a_hang_up)
{
    open();
    start_write("abc");
    settle();
    fake->report(VIR_STREAM_EVENT_HANGUP);
    // libvirt reports only what is requested: the hang-up comes with the next event that is.
    outcome failed;
    stream.async_wait(avirt::async_stream::wait_type::error, failed.handler());
    run_until_done(write);
    check(write, asio::error::broken_pipe);
}

BOOST_AUTO_TEST_CASE(an_attempt_without_waiting)
{
    open();
    error_code ec;
    BOOST_TEST(stream.write_some(asio::buffer("abc", 3), ec) == 0u);
    BOOST_TEST(ec == asio::error::would_block);
    outcome writable;
    stream.async_wait(avirt::async_stream::wait_type::write, writable.handler());
    settle();
    BOOST_TEST(!writable);
    fake->take(2);
    run_until_done(writable);
    check(writable, {});
    BOOST_TEST(stream.write_some(asio::buffer("abc", 3), ec) == 2u);
    BOOST_TEST(ec == error_code());
    BOOST_TEST(fake->sent() == "ab");
}

BOOST_AUTO_TEST_CASE(an_attempt_never_blocks)
{
    adopt();
    fake->block_sending();
    error_code ec;
    BOOST_TEST(stream.write_some(asio::buffer("abc", 3), ec) == 0u);
    BOOST_TEST(ec == asio::error::operation_not_supported);
    BOOST_TEST(fake->sends() == 0);
    fake->let_sending_go();
}

BOOST_AUTO_TEST_CASE(nobody_writes_and_nothing_is_dispatched)
{
    open();
    start_write("abc");
    settle();
    fake->take(1000);
    run_until_done(write);
    settle();
    BOOST_TEST((fake->mask() & VIR_STREAM_EVENT_WRITABLE) == 0);
    const auto before = loop.stats().dispatched;
    settle();
    BOOST_TEST(loop.stats().dispatched == before);
}

BOOST_DATA_TEST_CASE(
    cancelled_while_it_waits_nothing_is_sent, data::make(support::every_cancellation_type), type)
{
    open();
    start_write("abc");
    settle();
    signal.emit(type);
    BOOST_TEST(!write);
    run_until_done(write);
    check(write, aborted);
    fake->take(100);
    settle();
    BOOST_TEST(fake->sent() == "");
    signal.emit(type);
    write = {};
    stream.async_write_some(asio::buffer("xy", 2), write.handler());
    signal.emit(type);
    run_until_done(write);
    check(write, {}, 2);
    BOOST_TEST(fake->sent() == "xy");
}

BOOST_AUTO_TEST_CASE(inside_libvirt_terminal_ends_it_at_once)
{
    adopt();
    fake->block_sending();
    auto text = std::make_unique<std::string>(1000, 'x');
    start_write(*text);
    BOOST_REQUIRE(is_inside_send());
    signal.emit(cancellation_type::partial);
    signal.emit(cancellation_type::total);
    settle();
    BOOST_TEST(!write);
    signal.emit(cancellation_type::terminal);
    settle();
    check(write, aborted);
    text.reset(); // The memory belongs to the caller again, although libvirt still sends.
    fake->take(1000);
    fake->let_sending_go();
    run_until([&] { return fake->sent().size() == 1000; });
    BOOST_TEST((fake->sent() == std::string(1000, 'x')));
}

BOOST_AUTO_TEST_CASE(inside_libvirt_the_buffer_may_end_with_its_stream)
{
    adopt();
    fake->block_sending();
    auto text = std::make_unique<std::string>(1000, 'x');
    start_write(*text);
    BOOST_REQUIRE(is_inside_send());
    {
        const auto moved = std::move(stream);
    }
    settle();
    check(write, aborted);
    text.reset();
    fake->let_sending_go();
}

BOOST_AUTO_TEST_CASE(the_context_works_on_while_libvirt_sends)
{
    adopt();
    fake->block_sending();
    start_write("abc");
    BOOST_REQUIRE(is_inside_send());
    fake->deliver("from there");
    std::array<char, 64> memory{};
    outcome read;
    stream.async_read_some(asio::buffer(memory), read.handler());
    run_until_done(read);
    BOOST_TEST(read.bytes() == 10u);
    BOOST_TEST(!write);
    fake->take(3);
    fake->let_sending_go();
    run_until_done(write);
    check(write, {}, 3);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(stream_write_queued, one_thread)

BOOST_DATA_TEST_CASE(cancelled_before_libvirt_has_it, data::make(support::every_cancellation_type), type)
{
    support::gate g;
    outcome call;
    conn.async_call(g.entry(), call.handler());
    run_until([&] { return g.arrived() == 1; });

    adopt();
    fake->take(100);
    outcome write;
    asio::cancellation_signal signal;
    stream.async_write_some(
        asio::buffer("abc", 3), asio::bind_cancellation_slot(signal.slot(), write.handler()));
    settle();
    BOOST_TEST(loop.stats().queued_calls == 1u);
    signal.emit(type);
    settle();
    check(write, aborted);
    g.open();
    run_until_done(call);
    BOOST_TEST(support::eventually([&] { return loop.stats().queued_calls == 0; }));
    settle();
    BOOST_TEST(fake->sent() == "");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
