// SPDX-License-Identifier: BSL-1.0
#include "fake_fixture.hpp"

#include <support/resident_bytes.hpp>

#include <boost/asio/write.hpp>
#include <boost/test/data/test_case.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <string_view>
#include <thread>

// Tests what an application that does not read costs.

namespace {

namespace data = boost::unit_test::data;
using std::chrono::seconds;
using support::few_mebibytes;
using support::mebibyte;

struct absent_reader_fixture : fake_fixture
{
    const std::size_t before = support::resident_bytes();

    /// How much the resident memory has grown since the test began; 0 if it has shrunk.
    std::size_t growth() const
    {
        const auto now = support::resident_bytes();
        return now > before ? now - before : 0;
    }

    /// Options whose keepalive considers a daemon lost that has been silent for two seconds.
    static avirt::open_options impatient(const support::fake_libvirtd& daemon)
    {
        avirt::open_options options{daemon.uri()};
        options.keepalive_interval = seconds(1);
        options.keepalive_count = 1;
        return options;
    }

    static avirt::volume_download sparse_download()
    {
        avirt::volume_download download{avirt::volume_locator::at_path("/vm")};
        download.sparse = true;
        return download;
    }

    void wait_for_data()
    {
        outcome readable;
        stream.async_wait(avirt::async_stream::wait_type::read, readable.handler());
        run_until_done(readable);
        BOOST_REQUIRE_EQUAL(readable.ec(), error_code());
    }

    void wait_for_keepalives(const support::fake_libvirtd& daemon, int more)
    {
        const int enough = daemon.keepalives() + more;
        run_until([&] { return daemon.keepalives() >= enough; });
    }
};

/// A daemon that sends a little data and then stays silent until the test is over.
struct silent_daemon_fixture : absent_reader_fixture
{
    std::promise<void> is_over;
    const support::fake_libvirtd daemon{[this](auto& s) {
        for (int i = 0; i < 10; ++i)
            s.data("unread");
        is_over.get_future().wait();
    }};

    silent_daemon_fixture()
    {
        open(impatient(daemon), avirt::console{"vm"});
        wait_for_data();
    }
};

/// Sends large packets until its client is gone.
struct flood
{
    std::atomic<std::size_t> packets{0};
    std::thread thread{};

    void operator()(const support::fake_libvirtd::session& to)
    {
        thread = std::thread([this, s = to]() mutable {
            const std::string packet(256 * 1024, 'x');
            while (s.data(packet))
                ++packets;
        });
    }

    ~flood()
    {
        if (thread.joinable())
            thread.join();
    }
};

/// Writes byte by byte.
struct typist
{
    avirt::async_stream& stream;
    const int wanted;
    int written = 0;
    error_code failed{};

    void go_on()
    {
        stream.async_write_some(asio::buffer("x", 1), [this](error_code ec, std::size_t n) {
            failed = ec;
            written += static_cast<int>(n);
            if (!ec && written < wanted)
                go_on();
        });
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(absent_reader, absent_reader_fixture)

BOOST_DATA_TEST_CASE(a_hole_takes_no_memory, data::make({true, false}), writes)
{
    constexpr std::size_t length = 1024 * mebibyte;
    const support::fake_libvirtd daemon([](auto& s) {
        s.data("before");
        s.hole(length);
        s.data("after");
        s.eof();
    });
    open(impatient(daemon), sparse_download());
    wait_for_data();
    if (writes) { // No daemon refuses a write to a download before its end.
        error_code ec;
        for (int i = 0; i < 5; ++i)
            stream.write_some(asio::buffer("x", 1), ec);
    }
    else
        wait_for_keepalives(daemon, 4);
    BOOST_TEST(growth() < few_mebibytes);

    // The reader gets zeros, which are made as it reads them.
    const std::string zeros(mebibyte, '\0');
    std::string buffer(mebibyte, '\0'), rest;
    std::size_t total = 0;
    outcome read;
    while (!read.ec()) {
        read = {};
        stream.async_read_some(asio::buffer(buffer), read.handler());
        run_until_done(read);
        total += read.bytes();
        if (const auto part = std::string_view(buffer).substr(0, read.bytes());
            part != std::string_view(zeros).substr(0, read.bytes()))
            rest += part;
    }
    BOOST_TEST(read.ec() == asio::error::eof);
    BOOST_TEST(total == 6 + length + 5);
    BOOST_TEST(rest.substr(0, 6) == "before");
    BOOST_TEST(rest.substr(rest.size() - 5) == "after");
    BOOST_TEST(rest.find_first_not_of('\0', 6) == rest.size() - 5);
    BOOST_TEST(growth() < few_mebibytes);
}

BOOST_AUTO_TEST_CASE(writes_wait_for_the_reader)
{
    flood output;
    {
        const support::fake_libvirtd daemon([&](auto& s) { output(s); });
        open(avirt::open_options{daemon.uri()}, avirt::console{"vm"});
        wait_for_data();
        typist input{stream, 2000};
        input.go_on();
        // Runs until all input is written, or the write waits.
        for (int last = -1, still = 0; input.written < input.wanted && still < 200;
             still = last == input.written ? still + 1 : 0) {
            last = input.written;
            io.restart();
            io.run_for(std::chrono::milliseconds(1));
        }
        BOOST_TEST(growth() < few_mebibytes);

        // The waiting write continues as soon as the application reads.
        std::string buffer(mebibyte, '\0');
        while (input.written < input.wanted && !input.failed) {
            outcome read;
            stream.async_read_some(asio::buffer(buffer), read.handler());
            run_until_done(read);
            BOOST_REQUIRE_EQUAL(read.ec(), error_code());
        }
        BOOST_TEST(input.written == input.wanted);
        BOOST_TEST(growth() < few_mebibytes);
        stream.close();
    }
}

BOOST_AUTO_TEST_CASE(keepalive_messages_read_nothing)
{
    flood output;
    {
        const support::fake_libvirtd daemon([&](auto& s) { output(s); });
        open(impatient(daemon), avirt::console{"vm"});
        wait_for_data();
        wait_for_keepalives(daemon, 1);
        const std::size_t sent = output.packets;
        wait_for_keepalives(daemon, 4);
        // The messages that keep the connection alive must not read further packets.
        BOOST_TEST(output.packets <= sent + 1);

        // The daemon has read all of these messages, so it must not be considered lost.
        std::string buffer(mebibyte, '\0');
        for (int i = 0; i < 16; ++i) {
            outcome read;
            stream.async_read_some(asio::buffer(buffer), read.handler());
            run_until_done(read);
            BOOST_TEST(read.ec() == error_code());
        }
        stream.close();
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(silent_daemon, silent_daemon_fixture)

BOOST_AUTO_TEST_CASE(is_noticed_behind_unread_data_and_a_full_socket)
{
    const std::string much(8 * mebibyte, 'x');
    outcome written;
    asio::async_write(stream, asio::buffer(much), written.handler());
    BOOST_CHECK_NO_THROW(run_until_done(written));
    is_over.set_value();
    BOOST_TEST(bool(written.ec() == avirt::condition::connection_lost));
    std::array<char, 100> buffer{};
    outcome read;
    stream.async_read_some(asio::buffer(buffer), read.handler());
    run_until_done(read);
    BOOST_TEST(read.bytes() > 0u);
}

BOOST_AUTO_TEST_CASE(is_noticed_behind_unread_data)
{
    outcome ended;
    stream.async_wait(avirt::async_stream::wait_type::error, ended.handler());
    BOOST_CHECK_NO_THROW(run_until_done(ended));
    is_over.set_value();
    BOOST_TEST(bool(ended));
}

BOOST_AUTO_TEST_SUITE_END()
