// SPDX-License-Identifier: BSL-1.0

// Transfers between volumes and files.
#include "volume_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/read.hpp>

BOOST_FIXTURE_TEST_SUITE(remote_volume, volume_fixture)

BOOST_AUTO_TEST_CASE(a_volume_is_downloaded)
{
    for (const std::uint64_t size : {0U, 1U, 262120U, 5'000'000U}) {
        const auto path = make_volume("down", size);
        download("down");
        check_success();
        BOOST_TEST(same(file, path));
        BOOST_TEST(result.progress.bytes == size);
        BOOST_TEST(result.progress.hole_bytes == 0u);
        BOOST_TEST(result.progress.total == size);
        BOOST_TEST(files() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(a_part_of_a_volume_is_downloaded)
{
    const auto path = make_volume("down", 3'000'000);
    avirt::transfer_options part_of_it;
    part_of_it.offset = 1'000'000;
    part_of_it.length = 500'000;
    part_of_it.verify = true;
    download("down", part_of_it);
    check_success();
    BOOST_TEST((content(file) == content(path).substr(1'000'000, 500'000)));
    BOOST_TEST(result.progress.total == 500'000u);
    part_of_it.length = 0;
    download("down", part_of_it);
    check_success();
    BOOST_TEST((content(file) == content(path).substr(1'000'000)));
    BOOST_TEST(result.progress.total == 2'000'000u);
}

BOOST_AUTO_TEST_CASE(verification_keeps_to_the_rate)
{
    make_volume("down", 2'000'000);
    avirt::transfer_options options;
    options.verify = true;
    options.bytes_per_second = 4'000'000;
    int reports_of_all = 0;
    options.on_progress = [&](const avirt::progress& p) { reports_of_all += p.bytes == p.total; };
    download("down", options);
    check_success();
    BOOST_TEST((result.progress.elapsed >= std::chrono::milliseconds(750))); // half a second for each pass
    BOOST_TEST(reports_of_all >= 3);
}

BOOST_AUTO_TEST_CASE(a_file_is_uploaded)
{
    for (const std::uint64_t size : {0U, 1U, 262120U, 5'000'000U}) {
        const auto path = make_fresh_volume("up", size);
        const auto source = content(make_volume("source", size));
        put(file, 0, source);
        upload("up");
        check_success();
        BOOST_TEST((content(path) == source));
        BOOST_TEST(result.progress.bytes == size);
        BOOST_TEST(result.progress.total == size);
    }
}

BOOST_AUTO_TEST_CASE(a_file_is_uploaded_into_a_part_of_a_volume)
{
    auto expected = content(make_volume("up", 3'000'000));
    const std::string text(500'000, 'x');
    put(file, 0, text);
    avirt::transfer_options there;
    there.offset = 1'000'000;
    there.verify = true;
    upload("up", there);
    check_success();
    expected.replace(1'000'000, text.size(), text);
    BOOST_TEST((content(make_volume("expected", 0).parent_path() / "up") == expected));
    there.offset = 100;
    there.length = 1000;
    upload("up", there);
    check_success();
    expected.replace(100, 1000, 1000, 'x');
    BOOST_TEST((content(make_volume("expected", 0).parent_path() / "up") == expected));
    BOOST_TEST(result.progress.total == 1000u);
}

BOOST_AUTO_TEST_CASE(holes_remain_holes_both_ways)
{
    const auto from = make_fresh_volume("from", 1024 * mebibyte);
    put(from, 0, std::string(mebibyte, 'a'));
    put(from, 500 * mebibyte, std::string(2 * mebibyte, 'b'));
    put(from, 1000 * mebibyte, std::string(mebibyte, 'c'));
    make_pool();
    download("from");
    check_success();
    BOOST_TEST(fs::file_size(file) == 1024 * mebibyte);
    BOOST_TEST(allocated(file) == allocated(from));
    BOOST_TEST(result.progress.bytes == 4 * mebibyte);
    BOOST_TEST(result.progress.hole_bytes == 1020 * mebibyte);

    const auto to = make_fresh_volume("to", 1024 * mebibyte);
    upload("to");
    check_success();
    BOOST_TEST(allocated(to) == allocated(from));
    BOOST_TEST(result.progress.bytes == 4 * mebibyte);
    BOOST_TEST(result.progress.hole_bytes == 1020 * mebibyte);
    fs::remove(file);
    download("to");
    check_success();
    BOOST_TEST(result.progress.bytes == 4 * mebibyte);
    std::ifstream copy(file, std::ios::binary);
    std::string some(2 * mebibyte, '\0');
    copy.seekg(500 * mebibyte).read(some.data(), static_cast<std::streamsize>(some.size()));
    BOOST_TEST((some == std::string(2 * mebibyte, 'b')));
}

BOOST_AUTO_TEST_CASE(holes_become_zeros_unless_they_are_wanted)
{
    const auto from = make_fresh_volume("from", 8 * mebibyte);
    put(from, mebibyte, "data");
    avirt::transfer_options dense;
    dense.sparse = false;
    download("from", dense);
    check_success();
    BOOST_TEST(allocated(file) >= 8 * mebibyte);
    BOOST_TEST(same(file, from));
    const auto to = make_fresh_volume("to", 8 * mebibyte);
    upload("to", dense);
    check_success();
    BOOST_TEST(allocated(to) >= 8 * mebibyte);
    BOOST_TEST(same(to, from));
}

BOOST_AUTO_TEST_CASE(holes_are_sent_as_zeros_over_old_data)
{
    const auto to = make_volume("old", 20 * mebibyte);
    put(file, 0, "begin");
    fs::resize_file(file, 20 * mebibyte - 5);
    put(file, 10 * mebibyte, "middle");
    const auto end = content(to).substr(20 * mebibyte - 5);
    avirt::transfer_options verified;
    verified.verify = true;
    upload("old", verified);
    check_success();
    BOOST_TEST((content(to) == content(file) + end));
}

BOOST_AUTO_TEST_CASE(a_volume_keeps_its_size)
{
    put(file, mebibyte, "data");
    fs::resize_file(file, 8 * mebibyte);
    const auto to = make_fresh_volume("large", 20 * mebibyte);
    avirt::transfer_options there;
    there.offset = mebibyte;
    upload("large", there);
    check_success();
    BOOST_TEST(fs::file_size(to) == 20 * mebibyte);
    BOOST_TEST(allocated(to) <= mebibyte);
    BOOST_TEST(content(to).find("data") == 2 * mebibyte);
    // What is behind the file is kept as well.
    put(to, 19 * mebibyte, "behind");
    make_pool();
    for (const bool resumes : {false, true}) {
        there.resume = resumes;
        put(file, 3 * mebibyte, resumes ? "first" : "second");
        upload("large", there);
        check_success();
        BOOST_TEST(fs::file_size(to) == 20 * mebibyte);
        BOOST_TEST(content(to).find("behind") == 19 * mebibyte);
        BOOST_TEST((content(to).substr(mebibyte, 8 * mebibyte) == content(file)));
    }
}

BOOST_AUTO_TEST_CASE(runs_of_zeros_are_uploaded_as_holes)
{
    put(file, 0, std::string(mebibyte, 'a') + std::string(30 * mebibyte, '\0') + "b");
    const auto to = make_fresh_volume("zeros", fs::file_size(file));
    upload("zeros");
    check_success();
    BOOST_TEST(allocated(to) <= 2 * mebibyte);
    BOOST_TEST(same(to, file));
}

BOOST_AUTO_TEST_CASE(what_does_not_exist)
{
    make_volume("exists", 1000);
    download("nothing");
    BOOST_TEST((result.ec == avirt::condition::not_found));
    BOOST_TEST(files() == 0u);
    upload("exists");
    BOOST_TEST(result.ec == boost::system::errc::no_such_file_or_directory);
    BOOST_TEST(message_contains(file.string()));
    put(file, 0, "x");
    upload("nothing");
    BOOST_TEST((result.ec == avirt::condition::not_found));
    avirt::async_download(conn, {"pool", "exists"}, directory.path / "nothing/disk.img", {}, record());
    run_until_moved();
    BOOST_TEST(result.ec == boost::system::errc::no_such_file_or_directory);
    BOOST_TEST(message_contains((directory.path / "nothing/disk.img").string()));
}

BOOST_AUTO_TEST_CASE(a_file_that_does_not_fit)
{
    const auto path = make_volume("small", 1000);
    const auto before = content(path);
    put(file, 0, std::string(1001, 'x'));
    upload("small");
    BOOST_TEST((result.ec == avirt::condition::no_space));
    BOOST_TEST_INFO(result.details.message);
    BOOST_TEST(message_contains("the 1001 bytes of '" + file.string() + "'"));
    BOOST_TEST(message_contains("the volume 'pool/small' of 1000 bytes"));
    avirt::transfer_options at_offset;
    at_offset.offset = 900;
    at_offset.length = 101;
    upload("small", at_offset);
    BOOST_TEST((result.ec == avirt::condition::no_space));
    BOOST_TEST(message_contains("at offset 900"));
    BOOST_TEST(content(path) == before);
}

BOOST_AUTO_TEST_CASE(a_connection_that_is_not_open)
{
    avirt::connection closed{io};
    avirt::async_download(closed, {"pool", "x"}, file, {}, record());
    run_until_moved();
    BOOST_TEST(result.ec == avirt::error::not_open);
    put(file, 0, "x");
    avirt::async_upload(closed, file, {"pool", "x"}, {}, record());
    run_until_moved();
    BOOST_TEST(result.ec == avirt::error::not_open);
}

BOOST_AUTO_TEST_CASE(a_sparse_stream_is_received_and_sent)
{
    const auto from = make_fresh_volume("from", 100 * mebibyte);
    put(from, 50 * mebibyte, std::string(mebibyte, 'd'));
    make_pool();
    auto sparse = remote_fixture::download("from");
    sparse.sparse = true;
    open_stream(sparse);
    avirt::async_receive_sparse(stream, file, {}, record());
    run_until_moved();
    check_success();
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(result.progress.bytes == mebibyte);
    BOOST_TEST(result.progress.hole_bytes == 99 * mebibyte);
    BOOST_TEST(allocated(file) == allocated(from));
    BOOST_TEST(same(file, from));
    // Reads do not stop at holes afterwards.
    open_stream(sparse);
    std::string zeros(100'000, 'x');
    outcome read;
    asio::async_read(stream, asio::buffer(zeros), read.handler());
    run_until_done(read);
    BOOST_TEST((zeros == std::string(100'000, '\0')));
    stream.close();

    const auto to = make_fresh_volume("to", 0);
    auto there = remote_fixture::upload("to");
    there.sparse = true;
    open_stream(there);
    avirt::async_send_sparse(stream, file, {}, record());
    run_until_moved();
    check_success();
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(result.progress.total == 100 * mebibyte);
    BOOST_TEST(allocated(to) == allocated(from));
    BOOST_TEST(same(to, from));
}

BOOST_AUTO_TEST_CASE(a_part_of_a_file_is_sent)
{
    const auto text = content(make_volume("source", 1'000'000));
    put(file, 0, text);
    const auto path = make_fresh_volume("to", 0);
    avirt::transfer_options some;
    some.offset = 300'000;
    some.length = 400'000;
    open_stream(remote_fixture::upload("to"));
    avirt::async_send_sparse(stream, file, some, record());
    run_until_moved();
    check_success();
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == text.substr(300'000, 400'000)));
}

BOOST_AUTO_TEST_CASE(a_stream_that_ends_a_transfer)
{
    outcome opened;
    avirt::async_receive_sparse(stream, file, {}, record());
    run_until_moved();
    BOOST_TEST(result.ec == avirt::error::not_open);
    BOOST_TEST(files() == 0u);
    make_volume("down", 20 * mebibyte);
    open_stream(remote_fixture::download("down"));
    avirt::transfer_options slow;
    slow.bytes_per_second = 1'000'000;
    avirt::async_receive_sparse(stream, file, slow, record());
    run_until([&] { return fs::exists(part); });
    stream.close();
    run_until_moved();
    BOOST_TEST(result.ec.failed());
    BOOST_TEST(files() == 0u);
}

BOOST_AUTO_TEST_CASE(a_driver_that_knows_no_holes)
{
    avirt::connection local{io};
    outcome opened, ready;
    local.async_open("test:///default", opened.handler());
    run_until_done(opened);
    stream.async_open(local, avirt::screenshot{"test"}, ready.handler());
    run_until_done(ready);
    const auto expected = receive(65536);
    BOOST_TEST(finish() == error_code());
    ready = {};
    stream.async_open(local, avirt::screenshot{"test"}, ready.handler());
    run_until_done(ready);
    avirt::async_receive_sparse(stream, file, {}, record());
    run_until_moved();
    check_success();
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(file) == expected));
    BOOST_TEST(result.progress.bytes == expected.size());
    local.close();
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct own_daemon
{
    support::libvirtd own;
};

struct busy_fixture : own_daemon, volume_fixture
{
    busy_fixture() : volume_fixture(own) {}
};

} // namespace

// While a volume is copied, the copy can be neither read nor written, and the original can be read only.
BOOST_FIXTURE_TEST_CASE(a_volume_that_is_being_copied, busy_fixture)
{
    make_fresh_volume("original", 1024 * 1024 * mebibyte); // This takes far longer than the test.
    asio::cancellation_signal signal;
    outcome copied;
    const auto copy = [](virConnectPtr c) {
        const avirt::storage_pool pool{virStoragePoolLookupByName(c, "pool")};
        const avirt::storage_volume from{virStorageVolLookupByName(pool.get(), "original")};
        const char* xml =
            "<volume><name>copy</name><capacity>1000000</capacity><allocation>0</allocation></volume>";
        return virStorageVolCreateXMLFrom(pool.get(), xml, from.get(), 0);
    };
    conn.async_call(
        avirt::own_connection, copy,
        asio::bind_cancellation_slot(
            signal.slot(), [h = copied.handler()](error_code ec, auto) mutable { h(ec); }));
    // Not an upload: when one has succeeded, the daemon refreshes the pool, which disturbs the copying.
    do {
        BOOST_TEST_REQUIRE(!copied);
        download("copy");
    } while (result.ec == avirt::condition::not_found);
    BOOST_TEST((result.ec == avirt::condition::busy));
    BOOST_TEST(result.ec == error_code(VIR_ERR_OPERATION_INVALID, avirt::libvirt_category()));
    BOOST_TEST(files() == 0u);
    put(file, 0, "x");
    upload("original");
    BOOST_TEST_INFO(result.ec.message() << ": " << result.details.message);
    BOOST_TEST((result.ec == avirt::condition::busy));
    upload("copy");
    BOOST_TEST_INFO(result.ec.message() << ": " << result.details.message);
    BOOST_TEST((result.ec == avirt::condition::busy));
    signal.emit(asio::cancellation_type::terminal);
    run_until_done(copied);
}
