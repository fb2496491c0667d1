// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"

#include <boost/test/data/test_case.hpp>
#include <libvirt/virterror.h>

#include <future>
#include <string>

// What comes before an error, an end or a close is delivered before it.

namespace {

namespace data = boost::unit_test::data;

const auto sizes = data::make({1, 7, 64, 4096});

} // namespace

BOOST_FIXTURE_TEST_SUITE(fake_daemon, fake_fixture)

BOOST_DATA_TEST_CASE(an_error_after_a_thousand_bytes, sizes, size)
{
    const std::string expected(1000, 'd');
    const support::fake_libvirtd daemon([&](auto& s) {
        for (int i = 0; i < 10; ++i)
            s.data(std::string_view(expected).substr(0, 100));
        s.error(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "the disk is on fire");
    });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(static_cast<std::size_t>(size), ec) == expected);
    BOOST_TEST(ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
    BOOST_TEST(!bool(ec == avirt::condition::connection_lost));
}

BOOST_DATA_TEST_CASE(a_close_after_fifty_bytes, sizes, size)
{
    const support::fake_libvirtd daemon([](auto& s) {
        for (int i = 0; i < 5; ++i)
            s.data("0123456789");
        s.close();
    });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(static_cast<std::size_t>(size), ec).size() == 50u);
    BOOST_TEST(bool(ec == avirt::condition::connection_lost));
}

// What the daemon does when a test says so, and has done when it goes on.
struct cue
{
    std::promise<void> given;
    std::promise<void> done;

    void take()
    {
        given.get_future().wait();
    }

    void give()
    {
        given.set_value();
        done.get_future().wait();
    }
};

BOOST_DATA_TEST_CASE(a_write_that_meets_an_error_behind_what_is_not_read, sizes, size)
{
    cue error;
    const std::string expected(1000, 'd');
    const support::fake_libvirtd daemon([&](auto& s) {
        s.data(expected);
        error.take();
        s.error(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "the disk is on fire");
        error.done.set_value();
    });
    open(daemon);
    outcome readable;
    stream.async_wait(avirt::async_stream::wait_type::read, readable.handler());
    run_until_done(readable);
    error.give();
    error_code ec;
    stream.write_some(asio::buffer("x", 1), ec);
    BOOST_TEST(receive(static_cast<std::size_t>(size), ec) == expected);
    BOOST_TEST(ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
}

BOOST_DATA_TEST_CASE(a_write_behind_a_close, sizes, size)
{
    cue close;
    const support::fake_libvirtd daemon([&](auto& s) {
        close.take();
        for (int i = 0; i < 5; ++i)
            s.data("0123456789");
        s.close();
        close.done.set_value();
    });
    open(daemon);
    close.give();
    error_code ec;
    stream.write_some(asio::buffer("x", 1), ec);
    BOOST_TEST(receive(static_cast<std::size_t>(size), ec).size() == 50u);
    BOOST_TEST(bool(ec == avirt::condition::connection_lost));
}

BOOST_DATA_TEST_CASE(an_end_right_before_a_close, sizes, size)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.data("0123456789");
        s.eof();
        s.close();
    });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(static_cast<std::size_t>(size), ec) == "0123456789");
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(byte_by_byte)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.fragments("first ");
        s.fragments("second");
        s.eof();
    });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(64, ec) == "first second");
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(nothing_comes_after_the_end)
{
    std::promise<void> has_ended;
    const support::fake_libvirtd daemon([&](auto& s) {
        s.data("all");
        s.eof();
        has_ended.get_future().wait();
        s.error(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "too late");
    });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(64, ec) == "all");
    const auto before = loop.stats().dispatched;
    has_ended.set_value();
    run_until([&] { return loop.stats().dispatched > before; });
    BOOST_TEST(receive(64, ec).empty());
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(an_end_without_anything)
{
    const support::fake_libvirtd daemon([](auto& s) { s.eof(); });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(64, ec).empty());
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(nothing_spins_at_the_end)
{
    const support::fake_libvirtd daemon([](auto& s) {
        s.data("x");
        s.eof();
    });
    open(daemon);
    error_code ec;
    receive(64, ec);
    const auto before = loop.stats().dispatched;
    for (int i = 0; i < 100; ++i) {
        io.restart();
        io.poll();
    }
    BOOST_TEST(loop.stats().dispatched - before < 5u);
}

BOOST_AUTO_TEST_SUITE_END()
