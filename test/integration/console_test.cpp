// SPDX-License-Identifier: BSL-1.0

// Tests the serial console of a real guest through libvirt's embedded driver.

#include "support/coroutine.hpp"
#include "support/embedded_driver.hpp"
#include "support/loop_fixture.hpp"

#include <avirt/avirt.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <chrono>
#include <optional>

namespace asio = boost::asio;
using boost::system::error_code;

extern "C" const unsigned char avirt_demo_guest[512];

using embedded_driver = support::embedded_driver;
BOOST_TEST_GLOBAL_FIXTURE(embedded_driver);

namespace {

const std::string greeting = "avirt demo guest: type, and it comes back\r\n";

/// A guest whose console is open and that has printed its greeting.
struct console_fixture : support::loop_fixture
{
    avirt::connection conn{io};
    std::optional<support::embedded_guest> guest;
    avirt::console where{"echo"};
    avirt::async_stream console{io};

    console_fixture()
    {
        std::optional<error_code> result;
        conn.async_open(support::embedded_driver::instance().uri(), [&](error_code ec) { result = ec; });
        run_until([&] { return result.has_value(); });
        BOOST_REQUIRE_EQUAL(*result, error_code());
        guest.emplace(conn.native_handle(), "echo", avirt_demo_guest);
        open(console, where);
        guest->resume();
        BOOST_REQUIRE_EQUAL(read_line(), greeting);
    }

    ~console_fixture()
    {
        end_console(); // libvirt 9.0 deadlocks if the domain goes away meanwhile.
        guest.reset();
        conn.close();
    }

    template <class Opener>
    error_code try_open(avirt::async_stream& stream, const Opener& opener)
    {
        std::optional<error_code> result;
        stream.async_open(conn, opener, [&](error_code ec) { result = ec; });
        run_until([&] { return result.has_value(); });
        return *result;
    }

    void open(avirt::async_stream& stream, const avirt::console& opener)
    {
        BOOST_REQUIRE_EQUAL(try_open(stream, opener), error_code());
    }

    void end_console()
    {
        std::optional<error_code> result;
        console.async_abort([&](error_code ec) { result = ec; });
        run_until([&] { return result.has_value(); });
    }

    void type(const std::string& text)
    {
        std::optional<error_code> result;
        asio::async_write(console, asio::buffer(text), [&](error_code ec, std::size_t) { result = ec; });
        run_until([&] { return result.has_value(); });
        BOOST_REQUIRE_EQUAL(*result, error_code());
    }

    std::string read_line()
    {
        std::optional<error_code> result;
        asio::async_read_until(
            console, asio::dynamic_buffer(text_), "\r\n", [&](error_code ec, std::size_t n) {
                result = ec;
                line_ = text_.substr(0, n);
                text_.erase(0, n);
            });
        run_until([&] { return result.has_value(); });
        BOOST_REQUIRE_EQUAL(*result, error_code());
        return line_;
    }

private:
    std::string text_, line_;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(console, console_fixture)

BOOST_AUTO_TEST_CASE(input_comes_back_with_every_token)
{
    std::string text;
    const auto until = [&](auto token) {
        return asio::async_read_until(console, asio::dynamic_buffer(text), "\r\n", std::move(token));
    };
    const auto check = [&](const std::string& expected, std::size_t n) {
        BOOST_TEST(text.substr(0, n) == expected);
        text.erase(0, n);
    };
    type("callback\r");
    bool is_called = false;
    until([&](error_code ec, std::size_t n) {
        BOOST_TEST(ec == error_code());
        check("callback\r\n", n);
        is_called = true;
    });
    BOOST_TEST(!is_called);
    run_until([&] { return is_called; });

    type("future\r");
    auto future = until(asio::use_future);
    run_until([&] { return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
    check("future\r\n", future.get());

    type("awaitable\r");
    support::run_coroutine(*this, [&]() -> asio::awaitable<void> {
        check("awaitable\r\n", co_await until(asio::use_awaitable));
    });

    type("deferred\r");
    support::run_coroutine(
        *this, [&]() -> asio::awaitable<void> { check("deferred\r\n", co_await until(asio::deferred)); });

    type("tuple\r");
    support::run_coroutine(*this, [&]() -> asio::awaitable<void> {
        const auto [ec, n] = co_await until(asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(ec == error_code());
        check("tuple\r\n", n);
    });
}

BOOST_AUTO_TEST_CASE(many_bytes_come_back_in_order)
{
    std::string sent;
    for (int i = 0; sent.size() < 3000; ++i)
        sent += std::to_string(i) + '.';
    std::string received;
    bool is_written = false, is_read = false;
    asio::async_write(console, asio::buffer(sent), [&](error_code ec, std::size_t n) {
        BOOST_TEST(ec == error_code());
        BOOST_TEST(n == sent.size());
        is_written = true;
    });
    asio::async_read(
        console, asio::dynamic_buffer(received), asio::transfer_exactly(sent.size()),
        [&](error_code ec, std::size_t) {
            BOOST_TEST(ec == error_code());
            is_read = true;
        });
    run_until([&] { return is_written && is_read; });
    BOOST_TEST(received == sent);
}

BOOST_AUTO_TEST_CASE(cancelling_a_read_loses_nothing)
{
    for (const auto type_of_cancellation :
         {asio::cancellation_type::total, asio::cancellation_type::partial,
          asio::cancellation_type::terminal}) {
        asio::cancellation_signal signal;
        char c;
        std::optional<error_code> result;
        console.async_read_some(
            asio::buffer(&c, 1),
            asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t) { result = ec; }));
        signal.emit(type_of_cancellation);
        BOOST_TEST(!result.has_value());
        run_until([&] { return result.has_value(); });
        BOOST_TEST(*result == asio::error::operation_aborted);
        type("still here\r");
        BOOST_TEST(read_line() == "still here\r\n");
    }
}

BOOST_AUTO_TEST_CASE(a_second_opener_is_told_that_the_console_is_in_use)
{
    avirt::async_stream second(io);
    const auto ec = try_open(second, where);
    BOOST_TEST(bool(ec == avirt::condition::console_in_use));
    BOOST_TEST(ec == error_code(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category()));
    BOOST_TEST(!second.is_open());
    type("first\r");
    BOOST_TEST(read_line() == "first\r\n");
}

BOOST_AUTO_TEST_CASE(a_console_taken_over_by_force_ends_the_first_stream)
{
    char c;
    std::optional<error_code> result;
    console.async_read_some(asio::buffer(&c, 1), [&](error_code ec, std::size_t) { result = ec; });
    avirt::async_stream second(io);
    avirt::console forced{"echo", {}, VIR_DOMAIN_CONSOLE_FORCE};
    open(second, forced);
    run_until([&] { return result.has_value(); });
    BOOST_TEST(bool(*result == avirt::condition::console_taken_over));

    console = std::move(second);
    // The watch of the first stream is gone: its descriptor number now belongs to the second.
    BOOST_TEST(loop.stats().watches == 1u);
    type("second\r");
    BOOST_TEST(read_line() == "second\r\n");
}

BOOST_AUTO_TEST_CASE(a_console_taken_over_without_an_outstanding_read)
{
    avirt::async_stream second(io);
    avirt::console forced{"echo", {}, VIR_DOMAIN_CONSOLE_FORCE};
    open(second, forced);
    char c;
    std::optional<error_code> result;
    console.async_read_some(asio::buffer(&c, 1), [&](error_code ec, std::size_t) { result = ec; });
    run_until([&] { return result.has_value(); });
    BOOST_TEST(bool(*result == avirt::condition::console_taken_over));
    console = std::move(second);
    run_until([&] { return loop.stats().watches == 1; });
    type("second\r");
    BOOST_TEST(read_line() == "second\r\n");
}

BOOST_AUTO_TEST_CASE(a_write_to_a_console_taken_over)
{
    end_console();
    open(console, where);
    avirt::async_stream second(io);
    avirt::console forced{"echo", {}, VIR_DOMAIN_CONSOLE_FORCE};
    open(second, forced); // libvirt reports nothing to the first stream, which has not requested any events.
    std::optional<error_code> result;
    console.async_write_some(asio::buffer("x", 1), [&](error_code ec, std::size_t) { result = ec; });
    run_until([&] { return result.has_value(); });
    BOOST_TEST(bool(*result == avirt::condition::console_taken_over));
    console = std::move(second);
}

BOOST_AUTO_TEST_CASE(a_console_taken_over_while_it_is_closed)
{
    console.close(); // The stream is aborted in the next turn of the loop.
    virStreamPtr other = virStreamNew(conn.native_handle(), VIR_STREAM_NONBLOCK);
    const avirt::domain vm(virDomainLookupByName(conn.native_handle(), "echo"));
    BOOST_TEST(virDomainOpenConsole(vm.get(), nullptr, other, VIR_DOMAIN_CONSOLE_FORCE) == 0);
    run_until([&] { return loop.stats().watches == 0; });
    virStreamAbort(other);
    virStreamFree(other);
    open(console, where);
    type("again\r");
    BOOST_TEST(read_line() == "again\r\n");
}

BOOST_AUTO_TEST_CASE(openers_report_what_is_wrong)
{
    avirt::async_stream other(io);
    BOOST_TEST(bool(try_open(other, avirt::console{"nobody"}) == avirt::condition::not_found));
    BOOST_TEST(bool(try_open(other, avirt::console{"echo", "serial7"}) == avirt::condition::not_found));
    BOOST_TEST(bool(try_open(other, avirt::channel{"echo"}) == avirt::condition::not_found));
    // The device exists, but is not a terminal.
    const auto to_nowhere = try_open(other, avirt::console{"echo", "ua-nowhere"});
    BOOST_TEST(bool(to_nowhere == avirt::condition::not_supported));
    BOOST_TEST(!bool(to_nowhere == avirt::condition::not_found));
    // The guest runs, but has no screen.
    const auto no_screen = try_open(other, avirt::screenshot{"echo"});
    BOOST_TEST(bool(no_screen == avirt::condition::wrong_state));
    BOOST_TEST(!bool(no_screen == avirt::condition::guest_gone));
    end_console();
    guest->destroy();
    BOOST_TEST(bool(try_open(other, where) == avirt::condition::guest_gone));
    BOOST_TEST(bool(try_open(other, avirt::screenshot{"echo"}) == avirt::condition::guest_gone));
}

BOOST_AUTO_TEST_CASE(a_console_is_found_by_uuid_and_alias)
{
    char uuid[VIR_UUID_STRING_BUFLEN] = {};
    const avirt::domain vm(virDomainLookupByName(conn.native_handle(), "echo"));
    virDomainGetUUIDString(vm.get(), uuid);
    std::optional<error_code> finished;
    console.async_finish([&](error_code ec) { finished = ec; });
    run_until([&] { return finished.has_value(); });
    BOOST_TEST(*finished == error_code());
    BOOST_TEST(!console.is_open());

    open(console, avirt::console{uuid, "ua-console"});
    type("again\r");
    BOOST_TEST(read_line() == "again\r\n");
}

BOOST_AUTO_TEST_CASE(every_read_reports_the_end_after_the_guest_is_destroyed)
{
    guest->destroy();
    for (int i = 0; i < 3; ++i) {
        char c;
        std::optional<error_code> result;
        console.async_read_some(asio::buffer(&c, 1), [&](error_code ec, std::size_t) { result = ec; });
        run_until([&] { return result.has_value(); });
        BOOST_TEST(*result == asio::error::eof);
    }
    std::optional<error_code> written;
    console.async_write_some(asio::buffer("x", 1), [&](error_code ec, std::size_t) { written = ec; });
    run_until([&] { return written.has_value(); });
    BOOST_TEST(written->failed());
}

BOOST_AUTO_TEST_CASE(a_guest_that_does_not_read_delays_only_its_own_write)
{
    guest->suspend();
    const std::string much(64 * 1024, 'x');
    asio::cancellation_signal signal;
    std::optional<error_code> result;
    std::size_t written = 0;
    asio::async_write(
        console, asio::buffer(much),
        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::size_t n) {
            result = ec;
            written = n;
        }));
    bool is_answered = false;
    conn.async_call(virConnectNumOfDomains, [&](error_code ec, int n) {
        BOOST_TEST(ec == error_code());
        BOOST_TEST(n == 1);
        is_answered = true;
    });
    run_until([&] { return is_answered; });
    BOOST_TEST(!result.has_value());
    const auto dispatched = loop.stats().dispatched;
    for (int i = 0; i < 100; ++i)
        io.poll();
    BOOST_TEST(loop.stats().dispatched - dispatched < 10u); // The loop does not spin meanwhile.
    signal.emit(asio::cancellation_type::terminal);
    run_until([&] { return result.has_value(); });
    BOOST_TEST(*result == asio::error::operation_aborted);
    BOOST_TEST(written < much.size());
}

BOOST_AUTO_TEST_SUITE_END()
