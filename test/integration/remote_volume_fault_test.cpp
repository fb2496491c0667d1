// SPDX-License-Identifier: BSL-1.0

// Transfers between volumes and files that are interrupted, resumed, or have no space.
#include "volume_fixture.hpp"

#include <support/eventually.hpp>
#include <support/mounts.hpp>
#include <support/open_files.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/data/test_case.hpp>

#include <csignal>
#include <memory>
#include <random>
#include <stdexcept>
#include <system_error>

namespace {

namespace data = boost::unit_test::data;

/// Lets tests mount file systems that only they and their daemons see.
struct own_mounts
{
    static inline bool exist = false;

    void setup()
    {
        exist = support::can_have_own_mounts();
        if (exist)
            support::have_own_mounts();
    }
};

BOOST_TEST_GLOBAL_FIXTURE(own_mounts);

boost::test_tools::assertion_result has_own_mounts(boost::unit_test::test_unit_id)
{
    return own_mounts::exist;
}

/// Resumed transfers that are interrupted at chosen places.
struct interrupted_fixture : volume_fixture
{
    asio::cancellation_signal signal;
    avirt::transfer_options options;

    interrupted_fixture() : interrupted_fixture(support::answering_daemon()) {}

    explicit interrupted_fixture(support::libvirtd& d) : volume_fixture(d)
    {
        options.resume = true;
        options.bytes_per_second = 50'000'000; // so that there is time to interrupt it
    }

    void start_download(const std::string& name)
    {
        avirt::async_download(
            conn, {"pool", name}, file, options, asio::bind_cancellation_slot(signal.slot(), record()));
    }

    void start_upload(const std::string& name)
    {
        avirt::async_upload(
            conn, file, {"pool", name}, options, asio::bind_cancellation_slot(signal.slot(), record()));
    }

    bool has_at_least(const fs::path& path, std::uint64_t size) const
    {
        std::error_code none;
        return result.is_done || (fs::exists(path, none) && allocated(path) >= size);
    }
};

/// A directory that holds 24 MiB, with a pool "small" in it.
struct small_fixture : volume_fixture
{
    static constexpr std::uint64_t space = 24 * mebibyte;
    const fs::path small = daemon.directory() / "small";

    small_fixture()
    {
        fs::create_directory(small);
        support::mount_small(small, space);
    }

    ~small_fixture()
    {
        support::unmount(small);
        fs::remove(small);
    }

    /// Makes a volume without data in the pool.
    fs::path make_small_volume(std::uint64_t size)
    {
        const auto path = small / "volume";
        std::ofstream(path).close();
        fs::resize_file(path, size);
        fs::permissions(path, fs::perms::all);
        call([where = small.string()](virConnectPtr c) {
            avirt::storage_pool pool{virStoragePoolLookupByName(c, "small")};
            const auto xml =
                "<pool type='dir'><name>small</name><target><path>" + where + "</path></target></pool>";
            if (!pool)
                pool = avirt::storage_pool{virStoragePoolCreateXML(c, xml.c_str(), 0)};
            if (!pool || virStoragePoolRefresh(pool.get(), 0) < 0)
                avirt::throw_last_error();
        });
        return path;
    }

    void forget_pool()
    {
        call([](virConnectPtr c) {
            const avirt::storage_pool pool{virStoragePoolLookupByName(c, "small")};
            if (virStoragePoolDestroy(pool.get()) < 0)
                avirt::throw_last_error();
        });
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_volume_interrupted, interrupted_fixture)

BOOST_AUTO_TEST_CASE(a_cancelled_download_leaves_nothing)
{
    make_volume("down", 20 * mebibyte);
    options.resume = false;
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial,
          asio::cancellation_type::total}) {
        start_download("down");
        run_until([&] { return fs::exists(part); });
        signal.emit(type);
        run_until_moved();
        BOOST_TEST(result.ec == aborted);
        BOOST_TEST(files() == 0u);
    }
}

BOOST_DATA_TEST_CASE(a_download_is_resumed, data::xrange(10), place)
{
    // Half of it is a hole.
    const auto path = make_volume("down", 12 * mebibyte);
    fs::resize_file(path, 40 * mebibyte);
    put(path, 30 * mebibyte, std::string(4 * mebibyte, 'e'));
    make_pool();
    start_download("down");
    std::mt19937 random(static_cast<unsigned>(place));
    const auto size = std::uniform_int_distribution<std::uint64_t>(0, 15 * mebibyte)(random);
    run_until([&] { return has_at_least(part, size); });
    signal.emit(asio::cancellation_type::terminal);
    run_until_moved();
    if (result.ec == aborted) {
        BOOST_TEST(!fs::exists(file));
        const auto found = fs::exists(part) ? fs::file_size(part) : 0;
        options.bytes_per_second = 0;
        options.verify = true;
        start_download("down");
        run_until_moved();
        check_success();
        BOOST_TEST(result.progress.bytes >= found);
        BOOST_TEST(result.progress.bytes + result.progress.hole_bytes == 40 * mebibyte);
    }
    BOOST_TEST(same(file, path));
    BOOST_TEST(allocated(file) <= allocated(path));
    BOOST_TEST(files() == 1u);
}

BOOST_DATA_TEST_CASE(an_upload_is_resumed, data::xrange(10), place)
{
    put(file, 0, content(make_volume("source", 12 * mebibyte)));
    fs::resize_file(file, 40 * mebibyte);
    put(file, 30 * mebibyte, std::string(4 * mebibyte, 'e'));
    const auto path = make_fresh_volume("up", 40 * mebibyte);
    start_upload("up");
    std::mt19937 random(static_cast<unsigned>(place));
    const auto size = std::uniform_int_distribution<std::uint64_t>(0, 15 * mebibyte)(random);
    run_until([&] { return has_at_least(path, size); });
    signal.emit(asio::cancellation_type::terminal);
    run_until_moved();
    if (result.ec == aborted) {
        options.bytes_per_second = 0;
        options.verify = true;
        start_upload("up");
        run_until_moved();
        check_success();
        BOOST_TEST(result.progress.bytes + result.progress.hole_bytes == 40 * mebibyte);
    }
    BOOST_TEST(same(path, file));
    BOOST_TEST(allocated(path) <= 17 * mebibyte);
}

// Nothing would know its size afterwards.
BOOST_AUTO_TEST_CASE(an_interrupted_upload_leaves_the_volume_its_size)
{
    put(file, 2 * mebibyte, content(make_volume("source", 10 * mebibyte)));
    const auto path = make_fresh_volume("up", 20 * mebibyte);
    start_upload("up");
    run_until([&] { return has_at_least(path, mebibyte); });
    signal.emit(asio::cancellation_type::terminal);
    run_until_moved();
    BOOST_TEST(fs::file_size(path) == 20 * mebibyte);
    options.bytes_per_second = 0;
    start_upload("up");
    run_until_moved();
    check_success();
    BOOST_TEST(fs::file_size(path) == 20 * mebibyte);
    BOOST_TEST((content(path).substr(0, 12 * mebibyte) == content(file)));
}

BOOST_AUTO_TEST_CASE(only_the_rest_is_uploaded)
{
    const auto text = content(make_volume("source", 4 * mebibyte));
    put(file, 0, text);
    fs::resize_file(file, 100 * mebibyte);
    put(file, 50 * mebibyte, "end");
    const auto path = make_fresh_volume("up", 100 * mebibyte);
    put(path, 0, text.substr(0, 3'000'001));
    make_pool();
    std::uint64_t first = 0;
    options.bytes_per_second = 4'000'000;
    options.on_progress = [&](const avirt::progress& p) { first = first ? first : p.bytes; };
    start_upload("up");
    run_until_moved();
    check_success();
    BOOST_TEST(first >= 3'000'001u);
    BOOST_TEST(same(path, file));
    BOOST_TEST(allocated(path) <= 5 * mebibyte);
    // Everything is there.
    start_upload("up");
    run_until_moved();
    check_success();
    BOOST_TEST(result.progress.bytes + result.progress.hole_bytes == 100 * mebibyte);
}

BOOST_AUTO_TEST_CASE(a_partial_file_that_is_too_large_is_started_over)
{
    const auto path = make_volume("down", 3'000'000);
    put(part, 0, std::string(3'000'001, 'x'));
    start_download("down");
    run_until_moved();
    check_success();
    BOOST_TEST(result.progress.bytes == 3'000'000u);
    BOOST_TEST(same(file, path));
    // One that is complete needs its name only.
    fs::rename(file, part);
    start_download("down");
    run_until_moved();
    check_success();
    BOOST_TEST(same(file, path));
}

BOOST_AUTO_TEST_CASE(a_partial_file_that_is_wrong_is_found_out)
{
    make_volume("down", 3'000'000);
    put(part, 0, std::string(1'000'000, 'x'));
    options.verify = true;
    start_download("down");
    run_until_moved();
    BOOST_TEST(result.ec == avirt::error::verification_failed);
    BOOST_TEST_INFO(result.details.message);
    BOOST_TEST(message_contains("'" + file.string() + "' differs from the volume 'pool/down' at offset 0"));
    BOOST_TEST(files() == 0u);
}

BOOST_AUTO_TEST_CASE(two_downloads_to_one_file)
{
    const auto path = make_volume("down", 10 * mebibyte);
    start_download("down");
    run_until([&] { return fs::exists(part); });
    outcome second;
    avirt::async_download(
        conn, {"pool", "down"}, file, {},
        [h = second.handler()](error_code ec, const avirt::progress&) mutable { h(ec); });
    run_until_done(second);
    BOOST_TEST((second.ec() == avirt::condition::busy));
    run_until_moved();
    check_success();
    BOOST_TEST(same(file, path));
}

BOOST_AUTO_TEST_CASE(a_file_that_shrinks_while_it_is_uploaded)
{
    put(file, 0, std::string(20 * mebibyte, 'x'));
    const auto path = make_fresh_volume("up", 20 * mebibyte);
    options.resume = false;
    start_upload("up");
    run_until([&] { return has_at_least(path, mebibyte); });
    fs::resize_file(file, mebibyte);
    run_until_moved();
    BOOST_TEST(result.ec == boost::system::errc::io_error);
    BOOST_TEST(message_contains("has shrunk from 20971520 to 1048576 bytes"));
}

BOOST_AUTO_TEST_CASE(a_daemon_that_does_not_answer)
{
    make_volume("down", 20 * mebibyte);
    options.resume = false;
    start_download("down");
    run_until([&] { return fs::exists(part); });
    daemon.freeze();
    signal.emit(asio::cancellation_type::total);
    run_until_moved();
    BOOST_TEST(result.ec == aborted);
    BOOST_TEST(files() == 0u);
    daemon.thaw();
}

BOOST_AUTO_TEST_CASE(what_on_progress_throws)
{
    make_volume("down", 20 * mebibyte);
    options.resume = false;
    options.on_progress = [](const avirt::progress&) { throw std::runtime_error("enough"); };
    start_download("down");
    run_until_moved();
    BOOST_TEST(result.ec == avirt::error::call_threw);
    BOOST_TEST(message_contains("enough"));
    BOOST_TEST(files() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// A private daemon, which is killed and comes back.
struct mortal_daemon
{
    support::libvirtd own;
};

struct killed_fixture : mortal_daemon, interrupted_fixture
{
    killed_fixture() : interrupted_fixture(own) {}

    void kill_and_come_back()
    {
        own.leave(SIGKILL);
        run_until_moved();
        BOOST_TEST((result.ec == avirt::condition::connection_lost));
        run_until([&] { return own.has_left(); });
        own.come_back();
        run_until([&] { return own.is_up(); });
        conn.close();
        open(conn);
        make_pool();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_volume_killed, killed_fixture)

BOOST_AUTO_TEST_CASE(a_daemon_that_is_killed)
{
    const auto path = make_volume("down", 20 * mebibyte);
    start_download("down");
    run_until([&] { return has_at_least(part, 5 * mebibyte); });
    kill_and_come_back();
    BOOST_TEST(!fs::exists(file));
    BOOST_TEST(fs::file_size(part) >= 4 * mebibyte);
    start_download("down");
    run_until_moved();
    check_success();
    BOOST_TEST(same(file, path));

    const auto copy = make_fresh_volume("up", 20 * mebibyte);
    start_upload("up");
    run_until([&] { return has_at_least(copy, 5 * mebibyte); });
    kill_and_come_back();
    options.bytes_per_second = 0;
    start_upload("up");
    run_until_moved();
    check_success();
    BOOST_TEST(same(copy, path));
}

BOOST_AUTO_TEST_CASE(a_daemon_that_is_killed_leaves_no_file)
{
    make_volume("down", 20 * mebibyte);
    options.resume = false;
    start_download("down");
    run_until([&] { return has_at_least(part, 5 * mebibyte); });
    own.leave(SIGKILL);
    run_until_moved();
    BOOST_TEST((result.ec == avirt::condition::connection_lost));
    BOOST_TEST(files() == 0u);
    run_until([&] { return own.has_left(); });
    own.come_back();
    run_until([&] { return own.is_up(); });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(remote_volume_context)

/// The transfers that may be under way when their context is destroyed.
enum class under_way { download, resumed_download, upload };

BOOST_DATA_TEST_CASE(
    a_context_is_destroyed_during_a_transfer,
    data::xrange(static_cast<int>(under_way::download), static_cast<int>(under_way::upload) + 1), number)
{
    const auto what = static_cast<under_way>(number);
    const support::temporary_directory directory{"/tmp/avirt-files-"};
    const auto file = directory.path / "disk.img";
    const auto part = directory.path / ".disk.img.part";
    auto& daemon = support::answering_daemon();
    fs::path up;
    {
        volume_fixture r(daemon);
        r.make_volume("down", 20 * mebibyte);
        up = r.make_fresh_volume("up", 20 * mebibyte);
    }
    if (what == under_way::upload)
        volume_fixture::put(file, 0, std::string(20 * mebibyte, 'x'));
    const auto files_before = support::open_files();
    const auto owned = std::make_shared<int>();
    bool has_completed = false;
    {
        asio::io_context io;
        avirt::event_loop loop{io};
        avirt::connection conn{io};
        outcome opened;
        conn.async_open(daemon.uri(), opened.handler());
        support::run_until(io, [&] { return opened.calls() > 0; });
        BOOST_REQUIRE(!opened.ec());
        avirt::transfer_options options;
        options.resume = what == under_way::resumed_download;
        options.bytes_per_second = 50'000'000; // so that there is time to interrupt it
        const auto handler = [&, owned](error_code, const avirt::progress&) { has_completed = true; };
        if (what == under_way::upload)
            avirt::async_upload(conn, file, {"pool", "up"}, options, handler);
        else
            avirt::async_download(conn, {"pool", "down"}, file, options, handler);
        const auto& growing = what == under_way::upload ? up : part;
        support::run_until(io, [&] {
            return has_completed
                || (fs::exists(growing) && volume_fixture::allocated(growing) >= 2 * mebibyte);
        });
    }
    BOOST_TEST(!has_completed);
    BOOST_TEST(owned.use_count() == 1);
    // Worker threads close the files, and the connections.
    BOOST_TEST(support::eventually([&] { return support::open_files() <= files_before; }));
    BOOST_TEST(fs::exists(file) == (what == under_way::upload));
    BOOST_TEST(fs::exists(part) == (what == under_way::resumed_download));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(remote_volume_small, small_fixture, *boost::unit_test::precondition(&has_own_mounts))

BOOST_AUTO_TEST_CASE(a_full_disk_on_this_side)
{
    make_volume("large", space + 10 * mebibyte);
    const auto target = small / "disk.img";
    for (const bool resumes : {false, true}) {
        avirt::transfer_options options;
        options.resume = resumes;
        avirt::async_download(conn, {"pool", "large"}, target, options, record());
        run_until_moved();
        BOOST_TEST((result.ec == avirt::condition::no_space));
        BOOST_TEST_INFO(result.details.message);
        BOOST_TEST(message_contains("of '" + target.string() + "'"));
        BOOST_TEST(message_contains("at offset 2"));
        BOOST_TEST(!fs::exists(target));
        BOOST_TEST(fs::exists(small / ".disk.img.part") == resumes);
        if (resumes)
            BOOST_TEST(fs::file_size(small / ".disk.img.part") == space);
    }
    fs::remove(small / ".disk.img.part");
}

BOOST_AUTO_TEST_CASE(a_full_disk_on_the_other_side)
{
    // Refused long before the end, and with the last packets.
    for (const std::uint64_t too_much : {10 * mebibyte, std::uint64_t{4096}}) {
        const auto path = make_small_volume(space + too_much);
        put(file, 0, std::string(space + too_much, 'x'));
        avirt::transfer_options options;
        options.verify = true;
        avirt::async_upload(conn, file, {"small", "volume"}, options, record());
        run_until_moved();
        BOOST_TEST_INFO(result.ec.message() << ": " << result.details.message);
        if (too_much > mebibyte)
            BOOST_TEST((result.ec == avirt::condition::no_space));
        else
            BOOST_TEST(
                (result.ec == avirt::condition::no_space || result.ec == avirt::error::verification_failed));
        fs::remove(path);
        fs::remove(file);
    }
    forget_pool();
}

BOOST_AUTO_TEST_SUITE_END()
