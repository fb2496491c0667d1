// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <avirt/volume_info.hpp>
#include <support/resident_bytes.hpp>

#include <sys/stat.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/data/test_case.hpp>

#include <array>
#include <filesystem>
#include <optional>
#include <utility>

// Uploads and downloads of volumes through a daemon.

namespace {

namespace data = boost::unit_test::data;

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_transfer, remote_fixture)

BOOST_DATA_TEST_CASE(download_by_buffer_size, data::make({1, 1000, 262120, 262144, 1048576}), size)
{
    const auto path = make_volume("down", size == 1 ? 5000 : 3'000'000);
    open_stream(download("down"));
    BOOST_TEST((receive(static_cast<std::size_t>(size)) == content(path)));
    outcome again;
    char c;
    stream.async_read_some(asio::buffer(&c, 1), again.handler());
    run_until_done(again);
    BOOST_TEST(again.ec() == asio::error::eof);
    BOOST_TEST(finish() == error_code());
}

BOOST_AUTO_TEST_CASE(a_read_fills_all_buffers_with_what_has_arrived)
{
    const auto path = make_volume("down", 262120); // one packet
    open_stream(download("down"));
    outcome arrived, read;
    stream.async_wait(avirt::async_stream::wait_type::read, arrived.handler());
    run_until_done(arrived);
    std::string first(100'000, '\0'), second(100'000, '\0');
    stream.async_read_some(std::array{asio::buffer(first), asio::buffer(second)}, read.handler());
    run_until_done(read);
    BOOST_TEST(read.bytes() == 200'000u);
    BOOST_TEST((first + second == content(path).substr(0, 200'000)));
}

BOOST_DATA_TEST_CASE(upload_by_buffer_size, data::make({1, 1000, 65536, 262144, 8'000'000}), size)
{
    const auto path = make_volume("up", 0);
    const auto source = content(make_volume("source", size == 1 ? 5000 : 3'000'000));
    open_stream(upload("up"));
    send(source, static_cast<std::size_t>(size));
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
}

BOOST_AUTO_TEST_CASE(a_part_of_a_volume)
{
    const auto whole = content(make_volume("part", 100'000));
    auto part = download("part");
    part.offset = 1000;
    part.length = 70'000;
    open_stream(part);
    BOOST_TEST((receive(4096) == whole.substr(1000, 70'000)));
}

BOOST_AUTO_TEST_CASE(holes_both_ways)
{
    constexpr std::uint64_t mebibyte = 1024 * 1024;
    // A length of data, or of a hole.
    struct part
    {
        bool is_hole;
        std::uint64_t length;

        bool operator==(const part&) const = default;
    };
    const std::vector<std::vector<part>> layouts{
        {{true, mebibyte}, {false, 65536}, {true, 512 * mebibyte}, {false, mebibyte}, {true, 2 * mebibyte}},
        {{false, 65536}, {true, mebibyte}},
        {{true, 3 * mebibyte}},
    };
    const std::string data(mebibyte, 'd');
    for (std::size_t i = 0; i < layouts.size(); ++i) {
        const auto name = "sparse" + std::to_string(i);
        const auto path = make_volume(name, 0);
        auto to = upload(name);
        to.sparse = true;
        open_stream(to);
        std::uint64_t size = 0, bytes = 0;
        for (const auto& p : layouts[i]) {
            outcome written;
            if (!p.is_hole)
                asio::async_write(stream, asio::buffer(data, p.length), written.handler());
            else if (p.length == mebibyte) { // In pieces, which are one hole all the same.
                outcome first;
                stream.async_write_hole(mebibyte / 2, first.handler());
                stream.async_write_hole(mebibyte / 2, written.handler());
            }
            else
                stream.async_write_hole(p.length, written.handler());
            run_until_done(written);
            BOOST_REQUIRE_EQUAL(written.ec(), error_code());
            size += p.length;
            bytes += p.is_hole ? 0 : p.length;
        }
        BOOST_TEST(finish() == error_code());
        BOOST_TEST(std::filesystem::file_size(path) == size);
        struct stat status
        {
        };
        ::stat(path.c_str(), &status);
        BOOST_TEST(static_cast<std::uint64_t>(status.st_blocks) * 512 <= bytes + 65536);

        for (const bool shares_connection : {false, true}) {
            auto from = download(name);
            from.sparse = true;
            stream.stop_at_holes(true);
            outcome opened;
            if (shares_connection)
                stream.async_open(conn, avirt::shared_connection, from, opened.handler());
            else
                stream.async_open(conn, from, opened.handler());
            run_until_done(opened);
            std::vector<part> found;
            const auto add = [&](bool is_hole, std::uint64_t length) {
                if (length == 0)
                    return;
                if (found.empty() || found.back().is_hole != is_hole)
                    found.push_back({is_hole, 0});
                found.back().length += length;
            };
            std::string buffer(100'000, '\0');
            for (;;) {
                outcome read;
                stream.async_read_some(asio::buffer(buffer), read.handler());
                run_until_done(read);
                add(false, read.bytes());
                BOOST_TEST(buffer.find_first_not_of('d') >= read.bytes());
                if (read.ec() != avirt::error::at_hole && read.ec()) {
                    BOOST_TEST(read.ec() == asio::error::eof);
                    break;
                }
                if (read.ec()) {
                    outcome hole;
                    stream.async_read_hole(hole.handler());
                    run_until_done(hole);
                    add(true, hole.bytes());
                }
            }
            BOOST_TEST((found == layouts[i]));
            BOOST_TEST(finish() == error_code());
        }
    }
}

BOOST_AUTO_TEST_CASE(a_hole_that_the_daemon_does_not_expect)
{
    make_volume("dense", 0);
    open_stream(upload("dense"));
    outcome written;
    stream.async_write_hole(1000, written.handler());
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code()); // The daemon has not been told yet.
    BOOST_TEST((finish() == avirt::condition::wrong_state));
}

BOOST_AUTO_TEST_CASE(with_asios_algorithms)
{
    const auto path = make_volume("algorithms", 0);
    const auto source = content(make_volume("source", 1'000'000));
    open_stream(upload("algorithms"));
    outcome written;
    asio::async_write(stream, asio::buffer(source), written.handler());
    run_until_done(written);
    BOOST_TEST(written.bytes() == source.size());
    BOOST_TEST(finish() == error_code());

    open_stream(download("algorithms"));
    std::string text;
    outcome read;
    asio::async_read(stream, asio::dynamic_buffer(text), read.handler());
    run_until_done(read);
    BOOST_TEST(read.ec() == asio::error::eof);
    BOOST_TEST((text == source));
    BOOST_TEST((content(path) == source));
}

BOOST_AUTO_TEST_CASE(a_reader_that_pauses_costs_little_memory)
{
    constexpr std::size_t size = 100'000'000;
    const auto path = make_volume("big", size);
    const auto before = support::resident_bytes();
    open_stream(download("big"));
    // Until nothing is dispatched any more: the daemon waits for the reader.
    for (std::uint64_t last = 0; last != loop.stats().dispatched;) {
        last = loop.stats().dispatched;
        io.restart();
        io.run_for(std::chrono::milliseconds(200));
    }
    BOOST_TEST(support::resident_bytes() - before < 16u * 1024 * 1024);
    std::size_t total = 0;
    std::string buffer(1024 * 1024, '\0');
    std::ifstream expected(path, std::ios::binary);
    std::string part;
    bool is_equal = true;
    for (;;) {
        outcome read;
        stream.async_read_some(asio::buffer(buffer), read.handler());
        run_until_done(read);
        if (read.ec())
            break;
        total += read.bytes();
        part.resize(read.bytes());
        expected.read(part.data(), static_cast<std::streamsize>(part.size()));
        is_equal = is_equal && buffer.compare(0, read.bytes(), part) == 0;
    }
    BOOST_TEST(total == size);
    BOOST_TEST(is_equal);
}

BOOST_AUTO_TEST_CASE(errors_of_opening)
{
    make_pool();
    const auto failure_of = [&](auto opener) {
        outcome opened;
        stream.async_open(conn, std::move(opener), opened.handler());
        run_until_done(opened);
        return opened.ec();
    };
    BOOST_TEST(bool(failure_of(download("nothing")) == avirt::condition::not_found));
    BOOST_TEST(bool(failure_of(avirt::volume_download{{"nothing", "x"}}) == avirt::condition::not_found));
    BOOST_TEST(bool(
        failure_of(avirt::volume_upload{avirt::volume_locator::at_path("/nothing")})
        == avirt::condition::not_found));
    BOOST_TEST(failure_of(avirt::volume_upload{{"", ""}}) == boost::system::errc::invalid_argument);
    BOOST_TEST(!stream.is_open());
}

BOOST_AUTO_TEST_CASE(type_and_sizes)
{
    make_pool();
    const auto path = make_volume("sparse", 5000);
    std::filesystem::resize_file(path, 1'000'000);
    outcome asked;
    std::optional<avirt::volume_info> info;
    const auto ask = [&](avirt::volume_locator where) {
        asked = {};
        avirt::async_volume_info(
            conn, std::move(where), [&, h = asked.handler()](error_code ec, avirt::volume_info i) mutable {
                info = i;
                h(ec);
            });
        run_until_done(asked);
        return asked.ec();
    };
    BOOST_TEST(!ask(avirt::volume_locator::at_path(path.string())));
    BOOST_TEST(info->type == int{VIR_STORAGE_VOL_FILE});
    BOOST_TEST(info->capacity == 1'000'000u);
    BOOST_TEST(info->physical == 1'000'000u);
    BOOST_TEST(info->allocation < 100'000u);
    BOOST_TEST((ask({"nothing", "x"}) == avirt::condition::not_found));
    BOOST_TEST(info->capacity == 0u);
    BOOST_TEST((ask({"", ""}) == boost::system::errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(found_by_path_and_key)
{
    const auto path = make_volume("located", 5000);
    for (const auto& where :
         {avirt::volume_locator::at_path(path.string()), avirt::volume_locator::with_key(path.string())}) {
        open_stream(avirt::volume_download{where});
        BOOST_TEST((receive(1000) == content(path)));
        stream.close();
    }
}

namespace {

/// A private daemon, which may not survive the test.
struct own_daemon
{
    support::libvirtd own;
};

struct mortal_fixture : own_daemon, remote_fixture
{
    mortal_fixture() : remote_fixture(own, options(own.uri())) {}

    static avirt::open_options options(const std::string& uri)
    {
        avirt::open_options o;
        o.uri = uri;
        o.keepalive_interval = std::chrono::seconds(1);
        o.keepalive_count = 2;
        return o;
    }
};

} // namespace

// The daemon reports the error, crashes, or stops answering for ever (docs/libvirt.md, "What the daemon of
// libvirt 11.3 does not survive").
BOOST_FIXTURE_TEST_CASE(an_upload_of_more_than_was_announced, mortal_fixture)
{
    make_volume("limited", 0);
    auto limited = upload("limited");
    limited.length = 100;
    open_stream(limited);
    const std::string much(10'000, 'x');
    outcome written;
    asio::async_write(stream, asio::buffer(much), written.handler());
    run_until_done(written);
    BOOST_TEST((written.ec().failed() || finish().failed()));
}

BOOST_AUTO_TEST_CASE(on_a_shared_connection)
{
    const auto path = make_volume("shared", 3'000'000);
    outcome opened;
    stream.async_open(conn, avirt::shared_connection, download("shared"), opened.handler());
    run_until_done(opened);
    BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    BOOST_TEST((receive(100'000) == content(path)));
    BOOST_TEST(finish() == error_code());

    const auto copy = make_volume("copy", 0);
    opened = {};
    stream.async_open(conn, avirt::shared_connection, upload("copy"), opened.handler());
    run_until_done(opened);
    send(content(path), 300'000);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(copy) == content(path)));
}

namespace {

/// A connection and streams that the application opened itself: avirt knows only their pointers.
struct adopting_fixture : remote_fixture
{
    std::optional<avirt::connection> adopted;

    adopting_fixture()
    {
        virConnectPtr native = nullptr;
        call([&](virConnectPtr) { native = virConnectOpen(daemon.uri().c_str()); });
        BOOST_REQUIRE(native);
        adopted.emplace(io.get_executor(), native);
    }

    void adopt_stream(const std::filesystem::path& path, bool is_upload)
    {
        virStreamPtr native = nullptr;
        outcome opened;
        adopted->async_call(
            [&, name = path.string()](virConnectPtr c) {
                const avirt::storage_volume volume(virStorageVolLookupByPath(c, name.c_str()));
                native = virStreamNew(c, VIR_STREAM_NONBLOCK);
                return (is_upload ? virStorageVolUpload : virStorageVolDownload)(
                    volume.get(), native, 0, 0, 0);
            },
            opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        stream = avirt::async_stream(io.get_executor(), native);
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(adopted_streams, adopting_fixture)
{
    const auto path = make_volume("adopted", 0);
    const auto source = content(make_volume("source", 3'000'000));
    adopt_stream(path, true);
    send(source, 300'000);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
    adopt_stream(path, false);
    BOOST_TEST((receive(100'000) == source));
    BOOST_TEST(finish() == error_code());
}

BOOST_FIXTURE_TEST_CASE(streams_on_an_adopted_connection, adopting_fixture)
{
    const auto path = make_volume("adopted", 1'000'000);
    outcome opened;
    stream.async_open(*adopted, download("adopted"), opened.handler());
    run_until_done(opened);
    BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    BOOST_TEST((receive(100'000) == content(path)));
}

BOOST_FIXTURE_TEST_CASE(an_adopted_stream_of_a_stopped_daemon, adopting_fixture)
{
    const auto path = make_volume("adopted", 0);
    const std::string much(8 * 1024 * 1024, 'x');
    adopt_stream(path, true);
    daemon.freeze();
    asio::cancellation_signal signal;
    outcome written;
    asio::async_write(
        stream, asio::buffer(much), asio::bind_cancellation_slot(signal.slot(), written.handler()));
    // Until a worker thread is blocked in the write.
    for (std::size_t last = 1; last != loop.stats().running_calls + written.bytes();) {
        last = loop.stats().running_calls + written.bytes();
        io.restart();
        io.run_for(std::chrono::milliseconds(200));
    }
    BOOST_TEST(!written);
    check_cancellation(signal, written);
    daemon.thaw();
}

BOOST_AUTO_TEST_SUITE_END()
