// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/test/data/test_case.hpp>
#include <libvirt/virterror.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <list>
#include <vector>

namespace {

namespace data = boost::unit_test::data;

const std::string& picture()
{
    static const std::string p = [] {
        std::ifstream file("/usr/share/libvirt/test-screenshot.png", std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    }();
    return p;
}

/// Reads to the end, with async_read_some alone.
class reader
{
public:
    reader(avirt::async_stream& stream, std::size_t size) : stream_(stream), buffer_(size)
    {
        next();
    }

    std::string text;
    outcome end;

private:
    void next()
    {
        stream_.async_read_some(asio::buffer(buffer_), [this](error_code ec, std::size_t n) {
            text.append(buffer_.data(), n);
            if (ec)
                end.handler()(ec);
            else
                next();
        });
    }

    avirt::async_stream& stream_;
    std::vector<char> buffer_;
};

BOOST_FIXTURE_TEST_SUITE(screenshot, operations_fixture)

BOOST_AUTO_TEST_CASE(a_driver_in_this_process_knows_no_holes)
{
    open_stream();
    const auto check_refused = [&](const outcome& o) {
        run_until_done(o);
        BOOST_TEST((o.ec() == avirt::condition::not_supported));
    };
    outcome hole, write, read;
    stream.async_read_hole(hole.handler());
    check_refused(hole);
    stream.async_write_hole(4096, write.handler());
    check_refused(write);
    stream.stop_at_holes(true);
    stream.async_read_some(asio::buffer(memory), read.handler());
    check_refused(read);
    stream.stop_at_holes(false);
    const reader r(stream, 4096);
    check_result(r.end, asio::error::eof);
    BOOST_TEST((r.text == picture()));
}

BOOST_AUTO_TEST_CASE(size_of_the_picture)
{
    BOOST_TEST(picture().size() == 33443u);
}

BOOST_DATA_TEST_CASE(
    read_some_with_every_size,
    data::make({1u, 2u, 7u, 512u, 4095u, 4096u, 4097u, 33442u, 33443u, 33444u, 65536u, 1u << 20}), size)
{
    open_stream();
    reader r(stream, size);
    run_until_done(r.end);
    check(r.end, asio::error::eof);
    BOOST_TEST((r.text == picture()));
    for (int i = 0; i < 2; ++i) {
        outcome again;
        stream.async_read_some(asio::buffer(memory), again.handler());
        BOOST_TEST(!again);
        check_result(again, asio::error::eof);
        BOOST_TEST(again.bytes() == 0u);
    }
}

BOOST_DATA_TEST_CASE(read_with_every_size, data::make({1u, 100u, 33442u, 33443u, 33444u, 1u << 20}), size)
{
    open_stream();
    std::string text(size, '\0');
    outcome o;
    asio::async_read(stream, asio::buffer(text), o.handler());
    check_result(o, size > picture().size() ? error_code(asio::error::eof) : error_code());
    const auto expected = std::min<std::size_t>(size, picture().size());
    BOOST_TEST(o.bytes() == expected);
    BOOST_TEST((text.substr(0, expected) == picture().substr(0, expected)));
}

BOOST_AUTO_TEST_CASE(read_into_a_dynamic_buffer)
{
    open_stream();
    std::string text;
    outcome o;
    asio::async_read(stream, asio::dynamic_buffer(text), o.handler());
    check_result(o, asio::error::eof);
    BOOST_TEST((text == picture()));
}

BOOST_AUTO_TEST_CASE(read_until_and_the_rest)
{
    open_stream();
    std::string text;
    outcome o;
    asio::async_read_until(stream, asio::dynamic_buffer(text), "IHDR", o.handler());
    check_result(o);
    BOOST_TEST(o.bytes() == picture().find("IHDR") + 4);
    outcome rest;
    asio::async_read(stream, asio::dynamic_buffer(text), rest.handler());
    run_until_done(rest);
    BOOST_TEST((text == picture()));
}

BOOST_AUTO_TEST_CASE(scattered_read)
{
    open_stream();
    std::array<char, 8> magic{};
    std::array<char, 4> length{};
    std::array<char, 1000> rest{};
    const std::array buffers{
        asio::mutable_buffer(), asio::buffer(magic), asio::mutable_buffer(), asio::buffer(length),
        asio::buffer(rest)};
    outcome o;
    asio::async_read(stream, buffers, o.handler());
    check_result(o);
    BOOST_TEST(o.bytes() == 1012u);
    BOOST_TEST((std::string(magic.data(), 8) == picture().substr(0, 8)));
    BOOST_TEST((std::string(length.data(), 4) == picture().substr(8, 4)));
    BOOST_TEST((std::string(rest.data(), 1000) == picture().substr(12, 1000)));
}

BOOST_AUTO_TEST_CASE(an_empty_buffer_can_be_read_into_at_any_time)
{
    const auto read_nothing = [this] {
        outcome o;
        stream.async_read_some(asio::mutable_buffer(), o.handler());
        BOOST_TEST(!o);
        check_result(o);
        BOOST_TEST(o.bytes() == 0u);
    };
    read_nothing();
    open_stream();
    read_nothing();
    outcome some;
    stream.async_read_some(asio::buffer(memory), some.handler());
    run_until_done(some);
    read_nothing();
    reader r(stream, 4096);
    run_until_done(r.end);
    read_nothing();
    BOOST_TEST(some.bytes() + r.text.size() == picture().size());
}

BOOST_AUTO_TEST_CASE(read_some_and_async_wait)
{
    open_stream();
    std::string text;
    error_code ec;
    while (ec != asio::error::eof) {
        const auto n = stream.read_some(asio::buffer(memory), ec);
        text.append(memory.data(), n);
        BOOST_REQUIRE((!ec || ec == asio::error::would_block || ec == asio::error::eof));
        if (ec == asio::error::would_block) {
            outcome readable;
            stream.async_wait(wait_type::read, readable.handler());
            check_result(readable);
        }
    }
    BOOST_TEST((text == picture()));
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(a_second_read_is_refused)
{
    open_stream();
    outcome first;
    outcome second;
    std::array<char, 8> untouched{};
    stream.async_read_some(asio::buffer(memory), first.handler());
    stream.async_read_some(asio::buffer(untouched), second.handler());
    check_result(second, avirt::error::operation_in_progress);
    check_result(first);
    BOOST_TEST(first.bytes() > 0u);
    BOOST_TEST(untouched[0] == '\0');
}

BOOST_AUTO_TEST_CASE(many_streams_on_one_connection)
{
    open_connection();
    std::list<avirt::async_stream> streams;
    std::list<outcome> opened;
    for (int i = 0; i < 8; ++i) {
        streams.emplace_back(io).async_open(conn, avirt::screenshot{"test"}, opened.emplace_back().handler());
    }
    run_until([&] { return std::ranges::all_of(opened, [](auto& o) { return o.calls() == 1; }); });
    std::list<reader> readers;
    std::size_t size = 100;
    for (auto& s : streams)
        readers.emplace_back(s, size *= 2);
    run_until([&] { return std::ranges::all_of(readers, [](auto& r) { return r.end.calls() == 1; }); });
    for (const auto& r : readers)
        BOOST_TEST((r.text == picture()));
}

BOOST_AUTO_TEST_CASE(the_connection_may_be_closed_meanwhile)
{
    open_stream();
    conn.close();
    reader r(stream, 1000);
    run_until_done(r.end);
    BOOST_TEST((r.text == picture()));
}

BOOST_AUTO_TEST_CASE(one_object_is_used_repeatedly)
{
    open_connection();
    for (int i = 0; i < 5; ++i) {
        outcome opened;
        stream.async_open(conn, avirt::screenshot{"test"}, opened.handler());
        check_result(opened);
        reader r(stream, 4096);
        run_until_done(r.end);
        BOOST_TEST((r.text == picture()));
        outcome finished;
        stream.async_finish(finished.handler());
        check_result(finished);
        BOOST_TEST(!stream.is_open());
    }
}

BOOST_AUTO_TEST_CASE(aborted_half_way)
{
    open_stream();
    outcome some;
    stream.async_read_some(asio::buffer(memory), some.handler());
    run_until_done(some);
    outcome pending;
    stream.async_wait(wait_type::write, pending.handler());
    outcome end;
    stream.async_abort(end.handler());
    check_result(end);
    check(pending, aborted);
    BOOST_TEST(!stream.is_open());
}

BOOST_AUTO_TEST_CASE(by_uuid)
{
    open_connection();
    outcome opened;
    stream.async_open(conn, avirt::screenshot{"6695eb01-f6a4-8304-79aa-97f2502e193f"}, opened.handler());
    check_result(opened);
}

BOOST_AUTO_TEST_CASE(errors_of_opening)
{
    const auto open = [this](auto opener) {
        outcome o;
        stream.async_open(conn, std::move(opener), o.handler());
        BOOST_TEST(!o);
        run_until_done(o);
        return o.ec();
    };
    const avirt::screenshot good{"test"};
    BOOST_TEST(open(good) == avirt::error::not_open);
    open_connection();
    BOOST_TEST(open(avirt::screenshot{"nobody"}) == avirt::condition::not_found);
    BOOST_TEST(open(avirt::console{"test"}) == avirt::condition::not_supported);
    BOOST_TEST(!stream.is_open());
    BOOST_TEST(
        open([](virConnectPtr, virStreamPtr) -> int { throw std::bad_alloc(); }) == avirt::error::call_threw);
    BOOST_TEST(
        open([](virConnectPtr, virStreamPtr) -> int {
            throw boost::system::system_error(asio::error::try_again);
        })
        == asio::error::try_again);
    BOOST_TEST(!open(good));
    BOOST_TEST(open(good) == avirt::error::already_open);
    BOOST_TEST(stream.is_open());
}

BOOST_AUTO_TEST_CASE(an_object_of_another_connection)
{
    open_connection();
    avirt::connection other(io);
    outcome opened;
    other.async_open("test:///default", opened.handler());
    run_until_done(opened);
    const avirt::domain foreign(virDomainLookupByName(other.native_handle(), "test"));
    outcome o;
    avirt::error_details why;
    stream.async_open(
        conn,
        [&](virConnectPtr, virStreamPtr s) {
            char* type = virDomainScreenshot(foreign.get(), s, 0, 0);
            std::free(type);
            return type ? 0 : -1;
        },
        avirt::with_details(o.handler(), why));
    check_result(o, avirt::error::wrong_connection);
    // The translated message (support/translation.hpp).
    BOOST_TEST(why.message.find("MUST MATCH CONNECTION") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_move_only_opener)
{
    open_connection();
    outcome opened;
    stream.async_open(
        conn,
        [domain = std::make_unique<std::string>("test")](virConnectPtr c, virStreamPtr s) {
            return avirt::screenshot{*domain}(c, s);
        },
        opened.handler());
    check_result(opened);
}

BOOST_AUTO_TEST_CASE(waiting_for_the_end_does_not_spin)
{
    for (const bool is_cancelled : {false, true}) {
        open_stream();
        outcome over;
        stream.async_wait(wait_type::error, over.handler());
        if (is_cancelled)
            stream.cancel();
        reader r(stream, 4096);
        run_until_done(r.end);
        check_result(over, is_cancelled ? aborted : error_code());
        const auto before = loop.stats().dispatched;
        for (int i = 0; i < 100; ++i) {
            io.restart();
            io.poll();
        }
        BOOST_TEST(loop.stats().dispatched - before < 5u);
        stream.close();
        conn.close();
    }
}

BOOST_AUTO_TEST_CASE(operations_on_a_stream_that_is_not_open)
{
    outcome o[6];
    stream.async_read_some(asio::buffer(memory), o[0].handler());
    stream.async_write_some(asio::buffer(memory), o[1].handler());
    stream.async_wait(wait_type::read, o[2].handler());
    stream.async_wait(wait_type::error, o[3].handler());
    stream.async_finish(o[4].handler());
    stream.async_abort(o[5].handler());
    for (auto& each : o) {
        BOOST_TEST(!each);
        check_result(each, avirt::error::not_open);
    }
    error_code ec;
    BOOST_TEST(stream.read_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == avirt::error::not_open);
    BOOST_TEST(stream.write_some(asio::buffer(memory), ec) == 0u);
    BOOST_TEST(ec == avirt::error::not_open);
    BOOST_TEST(!stream.native_handle());
    BOOST_TEST(!stream.release());
    stream.cancel();
    stream.close();
}

BOOST_AUTO_TEST_CASE(an_adopted_stream)
{
    open_connection();
    virStreamPtr s = virStreamNew(conn.native_handle(), VIR_STREAM_NONBLOCK);
    BOOST_REQUIRE(avirt::screenshot{"test"}(conn.native_handle(), s) == 0);
    avirt::async_stream adopted(io.get_executor(), s);
    BOOST_TEST(adopted.native_handle() == s);
    reader r(adopted, 4096);
    run_until_done(r.end);
    BOOST_TEST((r.text == picture()));
}

BOOST_AUTO_TEST_CASE(released_and_read_with_libvirt)
{
    make_readable();
    outcome pending;
    stream.async_wait(wait_type::write, pending.handler());
    virStreamPtr s = stream.release();
    BOOST_REQUIRE(s);
    check_result(pending, aborted);
    BOOST_TEST(virStreamRecv(s, memory.data(), 8) == 8);
    BOOST_TEST((std::string(memory.data(), 8) == picture().substr(0, 8)));
    virStreamAbort(s);
    virStreamFree(s);
    outcome reopened;
    stream.async_open(conn, avirt::screenshot{"test"}, reopened.handler());
    check_result(reopened);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
