// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"

#include <support/gate.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/data/test_case.hpp>
#include <libvirt/virterror.h>

#include <cstdint>
#include <string>
#include <thread>

// Holes of sparse downloads, on a connection of the stream's own and on a shared one.

namespace {

namespace data = boost::unit_test::data;

constexpr std::uint64_t tebibyte = std::uint64_t{1} << 40;
const error_code aborted = asio::error::operation_aborted;

struct holes_fixture : fake_fixture
{
    void open(const support::fake_libvirtd& daemon, bool shares_connection)
    {
        outcome opened, started;
        conn.async_open(daemon.uri(), opened.handler());
        run_until_done(opened);
        avirt::volume_download volume{avirt::volume_locator::at_path("/vm")};
        volume.sparse = true;
        stream.stop_at_holes(true);
        if (shares_connection)
            stream.async_open(conn, avirt::shared_connection, volume, started.handler());
        else
            stream.async_open(conn, volume, started.handler());
        run_until_done(started);
        BOOST_REQUIRE_EQUAL(started.ec(), error_code());
    }

    /// Reads bytes up to an error.
    std::string read_to(const error_code& expected)
    {
        std::string result, buffer(64, '\0');
        for (;;) {
            outcome read;
            stream.async_read_some(asio::buffer(buffer), read.handler());
            run_until_done(read);
            result.append(buffer, 0, read.bytes());
            if (read.ec()) {
                BOOST_TEST(read.ec() == expected);
                return result;
            }
        }
    }

    outcome start_reading_hole()
    {
        outcome read;
        stream.async_read_hole(read.handler());
        return read;
    }

    void expect_hole(std::uint64_t length, const error_code& ec = {})
    {
        const auto read = start_reading_hole();
        run_until_done(read);
        BOOST_TEST(read.ec() == ec);
        BOOST_TEST(read.bytes() == length);
    }
};

const error_code at_hole = avirt::error::at_hole;
const error_code eof = asio::error::eof;

} // namespace

BOOST_FIXTURE_TEST_SUITE(fake_holes, holes_fixture)

BOOST_DATA_TEST_CASE(data_and_holes_in_their_order, data::make({false, true}), shares_connection)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.hole(7);
        s.data("first");
        s.hole(tebibyte);
        s.data("second");
        s.hole(3);
        s.eof();
    });
    open(daemon, shares_connection);
    BOOST_TEST(read_to(at_hole).empty());
    BOOST_TEST(read_to(at_hole).empty()); // It stays where it is.
    expect_hole(7);
    BOOST_TEST(read_to(at_hole) == "first");
    expect_hole(tebibyte);
    BOOST_TEST(read_to(at_hole) == "second");
    expect_hole(3);
    BOOST_TEST(read_to(eof).empty());
    expect_hole(0, eof);
}

BOOST_DATA_TEST_CASE(several_holes_in_a_row_are_one_or_more, data::make({false, true}), shares_connection)
{
    const support::fake_libvirtd daemon([](auto& s) {
        for (int i = 0; i < 5; ++i)
            s.hole(10);
        s.data("end");
        s.eof();
    });
    open(daemon, shares_connection);
    std::uint64_t total = 0;
    while (total < 50) {
        const auto read = start_reading_hole();
        run_until_done(read);
        BOOST_REQUIRE_EQUAL(read.ec(), error_code());
        total += read.bytes();
    }
    BOOST_TEST(total == 50u);
    BOOST_TEST(read_to(eof) == "end");
}

BOOST_DATA_TEST_CASE(no_hole_comes_next, data::make({false, true}), shares_connection)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.data("data");
        s.eof();
    });
    open(daemon, shares_connection);
    expect_hole(0);
    BOOST_TEST(read_to(eof) == "data");
}

BOOST_DATA_TEST_CASE(a_hole_that_comes_while_it_is_waited_for, data::make({false, true}), shares_connection)
{
    support::gate gate;
    const support::fake_libvirtd daemon([pass = gate.entry()](auto& s) {
        std::thread([pass, s]() mutable {
            pass();
            s.hole(20);
            s.data("more");
        }).detach();
    });
    open(daemon, shares_connection);
    const auto hole = start_reading_hole();
    outcome read;
    char byte = 0;
    stream.async_read_some(asio::buffer(&byte, 1), read.handler()); // One of the two is a read too many.
    run_until_done(read);
    BOOST_TEST(read.ec() == avirt::error::operation_in_progress);
    BOOST_TEST(!hole);
    gate.open();
    run_until_done(hole);
    BOOST_TEST(hole.ec() == error_code());
    BOOST_TEST(hole.bytes() == 20u);
}

BOOST_AUTO_TEST_CASE(an_error_behind_a_hole)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.data("data");
        s.hole(9);
        s.error(VIR_ERR_OPERATION_FAILED, VIR_FROM_STREAMS, "the disk is on fire");
    });
    // On a shared connection libvirt may forget what it has received (docs/libvirt.md, "Backpressure").
    open(daemon, false);
    const error_code failed(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category());
    BOOST_TEST(read_to(at_hole) == "data");
    expect_hole(9);
    BOOST_TEST(read_to(failed).empty());
    expect_hole(0, failed);
}

BOOST_DATA_TEST_CASE(a_connection_that_ends_behind_a_hole, data::make({false, true}), shares_connection)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.hole(9);
        s.close();
    });
    open(daemon, shares_connection);
    BOOST_TEST(read_to(at_hole).empty());
    expect_hole(9);
    const auto read = start_reading_hole();
    run_until_done(read);
    BOOST_TEST((read.ec() == avirt::condition::connection_lost));
}

BOOST_DATA_TEST_CASE(
    a_reader_that_does_not_ask_for_holes_any_more, data::make({false, true}), shares_connection)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.hole(5);
        s.data("x");
        s.hole(5);
        s.eof();
    });
    open(daemon, shares_connection);
    BOOST_TEST(read_to(at_hole).empty());
    stream.stop_at_holes(false);
    std::string zeros(2, 'z');
    outcome read;
    stream.async_read_some(asio::buffer(zeros), read.handler());
    run_until_done(read);
    BOOST_TEST(zeros == std::string(2, '\0'));
    stream.stop_at_holes(true);
    expect_hole(3); // What is left of it.
    BOOST_TEST(read_to(at_hole) == "x");
    stream.stop_at_holes(false);
    BOOST_TEST(read_to(eof) == std::string(5, '\0'));
}

BOOST_DATA_TEST_CASE(cancelled_and_destroyed, data::make({false, true}), shares_connection)
{
    support::gate gate;
    const support::fake_libvirtd daemon([pass = gate.entry()](auto& s) {
        std::thread([pass, s]() mutable {
            pass();
            s.hole(20);
        }).detach();
    });
    open(daemon, shares_connection);
    asio::cancellation_signal signal;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        outcome read;
        stream.async_read_hole(asio::bind_cancellation_slot(signal.slot(), read.handler()));
        signal.emit(type);
        run_until_done(read);
        BOOST_TEST(read.ec() == aborted);
    }
    outcome cancelled = start_reading_hole();
    stream.cancel();
    run_until_done(cancelled);
    BOOST_TEST(cancelled.ec() == aborted);
    const auto read = start_reading_hole();
    gate.open();
    run_until_done(read);
    BOOST_TEST(read.bytes() == 20u); // None was lost.
    const auto last = start_reading_hole();
    stream = avirt::async_stream{io};
    run_until_done(last);
    BOOST_TEST(last.ec() == aborted);
    outcome closed, written;
    stream.async_read_hole(closed.handler());
    stream.async_write_hole(1, written.handler());
    run_until_done(closed);
    run_until_done(written);
    BOOST_TEST(closed.ec() == avirt::error::not_open);
    BOOST_TEST(written.ec() == avirt::error::not_open);
}

BOOST_AUTO_TEST_SUITE_END()
