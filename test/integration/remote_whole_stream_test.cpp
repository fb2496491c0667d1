// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <avirt/receive_all.hpp>
#include <avirt/relay.hpp>
#include <avirt/send_all.hpp>
#include <support/cancellation_types.hpp>

#include <sys/stat.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/data/test_case.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

// The whole-stream algorithms with the streams of a daemon.

namespace {

namespace data = boost::unit_test::data;
using avirt::progress;
using avirt::transfer_options;

struct remote_whole_stream_fixture : remote_fixture
{
    auto keep_progress()
    {
        return [this, note = done.handler()](error_code ec, progress p) {
            reached = p;
            note(ec);
        };
    }

    void check_done(const error_code& ec, std::uint64_t bytes)
    {
        run_until_done(done);
        BOOST_TEST(done.ec() == ec);
        BOOST_TEST(reached.bytes == bytes);
        done = {};
    }

    static std::uint64_t allocated(const std::filesystem::path& path)
    {
        struct stat status
        {
        };
        ::stat(path.c_str(), &status);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

    outcome done;
    progress reached;
};

BOOST_FIXTURE_TEST_SUITE(remote_whole_stream, remote_whole_stream_fixture)

BOOST_AUTO_TEST_CASE(a_volume_into_memory)
{
    const auto path = make_volume("down", 3'000'000);
    open_stream(download("down"));
    std::string text;
    avirt::async_receive_all(stream, asio::dynamic_buffer(text), {}, keep_progress());
    check_done({}, 3'000'000);
    BOOST_TEST((text == content(path)));
    BOOST_TEST(finish() == error_code());
}

BOOST_AUTO_TEST_CASE(a_volume_from_a_function_of_unknown_length)
{
    const auto path = make_volume("up", 0);
    const auto source = content(make_volume("source", 3'000'000));
    open_stream(upload("up"));
    std::size_t position = 0;
    const auto give = [&](asio::mutable_buffer room) {
        const auto n = asio::buffer_copy(room, asio::buffer(source) + position, 100'000);
        position += n;
        return n;
    };
    avirt::async_send_all(stream, give, {}, keep_progress());
    check_done({}, source.size());
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
}

BOOST_AUTO_TEST_CASE(a_volume_to_another_with_its_holes)
{
    constexpr std::uint64_t mebibyte = 1024 * 1024;
    const auto from = make_volume("from", mebibyte);
    const auto to = make_volume("to", 0);
    std::filesystem::resize_file(from, 20 * mebibyte);
    { // Data at the end, after the hole.
        std::fstream file(from, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(19 * mebibyte);
        file << "the last words";
    }
    auto read = download("from");
    read.sparse = true;
    stream.stop_at_holes(true);
    open_stream(read);
    avirt::async_stream second(io);
    auto write = upload("to");
    write.sparse = true;
    open_stream(second, write);
    avirt::async_receive_all(stream, second, {}, keep_progress());
    run_until_done(done);
    BOOST_TEST(done.ec() == error_code());
    BOOST_TEST(reached.bytes < 2 * mebibyte);
    BOOST_TEST(reached.bytes + reached.hole_bytes == 20 * mebibyte);
    BOOST_TEST(finish() == error_code());
    stream = std::move(second);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(std::filesystem::file_size(to) == 20 * mebibyte);
    BOOST_TEST(allocated(to) < 2 * mebibyte);
    BOOST_TEST((content(to) == content(from)));
}

BOOST_AUTO_TEST_CASE(more_than_a_volume_takes)
{
    make_volume("up", 0);
    const std::string source(3'000'000, 'x');
    auto part = upload("up");
    part.length = 1'000'000;
    open_stream(part);
    avirt::async_send_all(stream, asio::buffer(source), {}, keep_progress());
    run_until_done(done);
    const auto finished = finish(); // One of the two reports it.
    BOOST_TEST((done.ec().failed() || finished.failed()));
}

BOOST_DATA_TEST_CASE(
    cancelled_while_the_daemon_stands_still, data::make(support::every_cancellation_type), type)
{
    make_volume("up", 0);
    open_stream(upload("up"));
    daemon.freeze();
    int calls = 0;
    const auto give = [&](asio::mutable_buffer room) {
        ++calls;
        return room.size();
    };
    asio::cancellation_signal signal;
    avirt::async_send_all(stream, give, {}, asio::bind_cancellation_slot(signal.slot(), keep_progress()));
    run_until([&] { return calls == 1; });
    for (int i = 0; i < 100; ++i)
        io.poll_one();
    BOOST_TEST(done.calls() == 0);
    signal.emit(type);
    run_until_done(done);
    BOOST_TEST(done.ec() == aborted);
    BOOST_TEST(calls < 10); // The stream holds the source back.
    daemon.thaw();
}

BOOST_AUTO_TEST_CASE(a_console_is_relayed_to_a_socket)
{
    start_guest("echo", avirt_demo_guest);
    open_stream(console("echo"));
    asio::local::stream_protocol::socket near(io), far(io);
    asio::local::connect_pair(near, far);
    outcome relayed;
    std::uint64_t typed = 0;
    avirt::async_relay(
        near, stream, [&, note = relayed.handler()](error_code ec, std::uint64_t to_guest, std::uint64_t) {
            typed = to_guest;
            note(ec);
        });
    std::string text;
    outcome written, read;
    asio::async_write(far, asio::buffer("hello\r", 6), written.handler());
    asio::async_read_until(far, asio::dynamic_buffer(text), "hello\r\n", read.handler());
    run_until_done(read);
    BOOST_TEST(read.ec() == error_code());
    BOOST_TEST(!relayed.calls());
    far.shutdown(asio::socket_base::shutdown_send); // A console cannot be told of that.
    run_until_done(relayed);
    BOOST_TEST(relayed.ec() == error_code());
    BOOST_TEST(typed == 6u);
    BOOST_TEST(stream.is_open());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(remote_whole_stream_loss)

BOOST_AUTO_TEST_CASE(the_daemon_dies)
{
    support::libvirtd daemon;
    remote_fixture f(daemon);
    f.make_volume("up", 0);
    f.open_stream(remote_fixture::upload("up"));
    int calls = 0;
    const auto give = [&](asio::mutable_buffer room) {
        if (++calls == 20)
            daemon.kill();
        return room.size();
    };
    outcome done;
    avirt::error_details why;
    const auto handler = [&, note = done.handler()](error_code ec, progress p) { note(ec, p.bytes); };
    avirt::async_send_all(f.stream, give, {}, avirt::with_details(handler, why));
    f.run_until_done(done);
    BOOST_TEST((done.ec() == avirt::condition::connection_lost));
    BOOST_TEST(done.bytes() > 0u);
    BOOST_TEST(!why.message.empty());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
