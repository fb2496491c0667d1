// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/data/test_case.hpp>

// A daemon behind TCP, whose socket has room for less than it says.

namespace {

namespace data = boost::unit_test::data;

support::libvirtd& tcp_daemon()
{
    static support::libvirtd daemon("/tmp", support::libvirtd::transport::tcp);
    return daemon;
}

struct tcp_fixture : remote_fixture
{
    tcp_fixture() : remote_fixture(tcp_daemon()) {}
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_tcp, tcp_fixture)

BOOST_DATA_TEST_CASE(up_and_down, data::make({1000, 65536, 262144}), size)
{
    const auto source = content(make_volume("source", 3'000'000));
    const auto path = make_volume("copy", 0);
    open_stream(upload("copy"));
    send(source, static_cast<std::size_t>(size));
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
    open_stream(download("copy"));
    BOOST_TEST((receive(static_cast<std::size_t>(size)) == source));
    BOOST_TEST(finish() == error_code());
}

BOOST_AUTO_TEST_CASE(a_console)
{
    start_guest("echo", avirt_demo_guest);
    open_stream(console("echo"));
    std::string text;
    outcome written, read;
    asio::async_write(stream, asio::buffer("hello\r", 6), written.handler());
    asio::async_read_until(stream, asio::dynamic_buffer(text), "hello\r\n", read.handler());
    run_until_done(read);
    BOOST_TEST(read.ec() == error_code());
}

BOOST_DATA_TEST_CASE(a_write_to_a_daemon_that_is_stopped, data::make({true, false}), cancel)
{
    const std::string much(32 * 1024 * 1024, 'x');
    const auto path = make_volume("frozen", 0);
    open_stream(upload("frozen"));
    daemon.freeze();
    asio::cancellation_signal signal;
    outcome written;
    asio::async_write(
        stream, asio::buffer(much), asio::bind_cancellation_slot(signal.slot(), written.handler()));
    // Until the kernel takes no more for it.
    for (std::uint64_t last = 1; last != loop.stats().dispatched;) {
        last = loop.stats().dispatched;
        io.restart();
        io.run_for(std::chrono::milliseconds(200));
    }
    BOOST_TEST(!written);
    if (cancel) {
        signal.emit(asio::cancellation_type::terminal);
        run_until_done(written);
        BOOST_TEST(written.ec() == aborted);
        return;
    }
    daemon.thaw();
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == much));
}

BOOST_AUTO_TEST_SUITE_END()
