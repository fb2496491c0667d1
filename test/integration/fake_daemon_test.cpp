// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"

#include <boost/test/data/test_case.hpp>
#include <libvirt/virterror.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <string>

// Checks that data before an error, an end or a close is delivered first.

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

// Makes the daemon act when the test says so. The test goes on when the daemon has acted.
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

BOOST_DATA_TEST_CASE(a_write_finds_an_error_behind_unread_data, sizes, size)
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

BOOST_DATA_TEST_CASE(a_write_after_the_daemon_has_closed, sizes, size)
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

BOOST_AUTO_TEST_CASE(an_error_after_the_end_is_not_reported)
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

// The daemon also answers packets that follow a refused one, and libvirt gives the connection up because of
// these answers. Repeated many times, because the end may arrive while the stream is being opened.
BOOST_AUTO_TEST_CASE(a_refusal_is_not_reported_as_a_loss)
{
    std::atomic<int> steps{0};
    const support::fake_libvirtd daemon([&](auto& s) {
        s.error(VIR_ERR_SYSTEM_ERROR, VIR_FROM_STREAMS, "cannot write to stream", ENOSPC);
        for (std::atomic<int> step{0}; step < steps;)
            ++step;
        s.close();
    });
    for (; steps < 10000; steps += 20) {
        open(daemon);
        outcome lost, finished;
        stream.async_wait(avirt::async_stream::wait_type::error, lost.handler());
        run_until_done(lost);
        outcome written;
        while (!written.ec()) {
            written = {};
            stream.async_write_some(asio::buffer("x", 1), written.handler());
            run_until_done(written);
        }
        BOOST_TEST(written.ec() == avirt::condition::no_space);
        stream.async_finish(finished.handler());
        run_until_done(finished);
        BOOST_TEST(finished.ec() == avirt::condition::no_space);
        BOOST_TEST((finished.ec() != avirt::condition::connection_lost));
        conn.close();
    }
}

BOOST_AUTO_TEST_CASE(a_finish_after_the_connection_is_lost)
{
    const support::fake_libvirtd daemon([](auto& s) { s.close(); });
    open(daemon);
    outcome lost, finished;
    stream.async_wait(avirt::async_stream::wait_type::error, lost.handler());
    run_until_done(lost);
    stream.async_finish(finished.handler());
    run_until_done(finished);
    BOOST_TEST(finished.ec() == avirt::error::result_unknown);
}

BOOST_AUTO_TEST_CASE(an_end_without_data)
{
    const support::fake_libvirtd daemon([](auto& s) { s.eof(); });
    open(daemon);
    error_code ec;
    BOOST_TEST(receive(64, ec).empty());
    BOOST_TEST(ec == asio::error::eof);
}

BOOST_AUTO_TEST_CASE(the_loop_does_not_spin_at_the_end)
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

namespace {

constexpr const char* a_guest = R"(<domain type='qemu' id='1'>
  <devices>
    <serial type='file'>
      <source path='/tmp/log'/>
      <target type='isa-serial' port='0'/>
      <alias name='serial0'/>
    </serial>
    <serial type='pty'>
      <source path='/dev/pts/9'/>
      <alias name='a&quot;b'/>
    </serial>
    <console type='file'>
      <source path='/tmp/log'/>
      <target type='serial' port='0'/>
      <alias name='serial0'/>
    </console>
    <disk type='file'>
      <alias name='disk0'/>
    </disk>
  </devices>
</domain>
)";

/// A daemon that refuses to open the console. avirt has to find out why.
struct refusal_fixture : fake_fixture
{
    support::fake_libvirtd daemon{[](auto&) {}};
    avirt::error_details why{};

    refusal_fixture()
    {
        refuse(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU);
        daemon.answer(daemon.domain_get_xml_desc, support::xdr(a_guest));
        daemon.answer(daemon.domain_get_state, support::xdr(int{VIR_DOMAIN_RUNNING}, 0));
        outcome opened;
        conn.async_open(daemon.uri(), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }

    void refuse(int code, int domain)
    {
        daemon.refuse(daemon.domain_open_console, code, domain, "what the daemon says");
    }

    error_code open_console(const std::string& device)
    {
        outcome opened;
        stream.async_open(conn, avirt::console{"vm", device}, avirt::with_details(opened.handler(), why));
        run_until_done(opened);
        return opened.ec();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(fake_refusal, refusal_fixture)

BOOST_AUTO_TEST_CASE(there_is_no_such_device)
{
    for (const auto* device : {"serial1", "disk0", "a\"", "erial0"}) {
        const auto ec = open_console(device);
        BOOST_TEST(ec == avirt::condition::not_found);
        BOOST_TEST((ec != avirt::condition::not_supported));
    }
    daemon.answer(daemon.domain_get_xml_desc, support::xdr("<domain type='qemu'>\n  <devices/>\n</domain>"));
    BOOST_TEST(open_console("") == avirt::condition::not_found);
}

BOOST_AUTO_TEST_CASE(the_device_is_not_a_terminal)
{
    for (const auto* device : {"", "serial0"}) {
        const auto ec = open_console(device);
        BOOST_TEST(ec == avirt::condition::not_supported);
        BOOST_TEST((ec != avirt::condition::not_found));
        BOOST_TEST(ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
        BOOST_TEST(why.message == "what the daemon says");
    }
}

BOOST_AUTO_TEST_CASE(the_device_is_a_terminal)
{
    const auto ec = open_console("a\"b");
    BOOST_TEST(ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
    BOOST_TEST((ec != avirt::condition::not_found));
    BOOST_TEST((ec != avirt::condition::not_supported));
}

BOOST_AUTO_TEST_CASE(the_list_of_devices_is_refused)
{
    daemon.refuse(daemon.domain_get_xml_desc, VIR_ERR_ACCESS_DENIED, VIR_FROM_ACCESS, "no");
    const auto ec = open_console("serial0");
    BOOST_TEST(ec == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
    BOOST_TEST((ec != avirt::condition::not_found));
    BOOST_TEST(why.message == "what the daemon says");
}

BOOST_AUTO_TEST_CASE(the_connection_is_lost)
{
    daemon.hang_up_at(daemon.domain_open_console);
    const auto ec = open_console("serial0");
    BOOST_TEST(ec == avirt::condition::connection_lost);
    BOOST_TEST((ec != avirt::condition::not_found));
}

// The daemon may have lost a connection of its own.
BOOST_AUTO_TEST_CASE(the_daemon_reports_a_loss_itself)
{
    refuse(VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC);
    BOOST_TEST((open_console("a\"b") != avirt::condition::connection_lost));
    daemon.refuse(daemon.connect_get_lib_version, VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, "lost");
    outcome called;
    conn.async_call(
        [](virConnectPtr c) {
            unsigned long version = 0;
            return virConnectGetLibVersion(c, &version);
        },
        called.handler());
    run_until_done(called);
    BOOST_TEST(called.ec() == error_code(VIR_ERR_INTERNAL_ERROR, avirt::libvirt_category()));
    BOOST_TEST((called.ec() != avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(calls_after_a_loss)
{
    daemon.hang_up_at(daemon.connect_get_lib_version);
    for (int i = 0; i < 3; ++i) { // The second call finds that libvirt has given the connection up.
        outcome called;
        conn.async_call(
            [](virConnectPtr c) {
                unsigned long version = 0;
                return virConnectGetLibVersion(c, &version);
            },
            avirt::with_details(called.handler(), why));
        run_until_done(called);
        BOOST_TEST_INFO(why.message);
        BOOST_TEST(called.ec() == avirt::condition::connection_lost);
    }
}

BOOST_AUTO_TEST_CASE(the_state_is_wrong)
{
    refuse(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU);
    const auto ec = open_console("serial0");
    BOOST_TEST(ec == avirt::condition::wrong_state);
    BOOST_TEST((ec != avirt::condition::guest_gone));
    for (const int state : {VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_CRASHED}) {
        daemon.answer(daemon.domain_get_state, support::xdr(state, 0));
        BOOST_TEST(open_console("serial0") == avirt::condition::guest_gone);
    }
    daemon.refuse(daemon.domain_get_state, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "it was undefined");
    BOOST_TEST(open_console("serial0") == avirt::condition::guest_gone);
    BOOST_TEST(why.message == "what the daemon says");
}

BOOST_AUTO_TEST_SUITE_END()
