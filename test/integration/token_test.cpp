// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_future.hpp>
#include <libvirt/virterror.h>

#include <future>
#include <memory>

// Every operation with completion tokens that need no coroutine, and adapters of these tokens with an
// operation of each completion signature. The other tests use callbacks.

namespace {

using namespace std::chrono_literals;

template <class Future>
void wait_for(operations_fixture& r, Future& f)
{
    r.run_until([&] { return f.wait_for(0s) == std::future_status::ready; });
}

BOOST_AUTO_TEST_SUITE(token)

BOOST_AUTO_TEST_CASE(use_future)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        auto f = op.launch(r, asio::use_future);
        wait_for(r, f);
        BOOST_CHECK_NO_THROW(f.get());
    });
}

BOOST_AUTO_TEST_CASE(use_future_throws)
{
    operations_fixture r;
    auto f = r.conn.async_open("nonsense:///", asio::use_future);
    wait_for(r, f);
    BOOST_CHECK_THROW(f.get(), boost::system::system_error);
    auto n = r.stream.async_read_some(asio::buffer(r.memory), asio::use_future);
    wait_for(r, n);
    BOOST_CHECK_EXCEPTION(n.get(), boost::system::system_error, [](const auto& e) {
        return e.code() == avirt::error::not_open;
    });
}

BOOST_AUTO_TEST_CASE(use_future_with_details)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        auto f = op.launch(r, avirt::with_details(asio::use_future));
        wait_for(r, f);
        BOOST_CHECK_NO_THROW(f.get());
    });
}

BOOST_AUTO_TEST_CASE(deferred_stored_and_launched_later)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        auto later = op.launch(r, asio::deferred);
        r.io.restart();
        r.io.poll();
        outcome o;
        std::move(later)(o.handler());
        BOOST_TEST(!o);
        r.check_result(o);
    });
}

BOOST_AUTO_TEST_CASE(deferred_as_a_tuple)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        outcome o;
        op.launch(r, asio::as_tuple(asio::deferred))(
            [note = o.handler()](auto result) { note(std::get<0>(result)); });
        r.check_result(o);
    });
}

BOOST_AUTO_TEST_CASE(deferred_and_never_launched)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        auto never = op.launch(r, asio::deferred);
        (void)never;
    });
}

BOOST_AUTO_TEST_CASE(detached)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        op.launch(r, asio::detached);
        if (!op.uses_object)
            return;
        r.stream.close();
        r.conn.close();
        support::run_to_end(r.io); // The object must remain valid for so long.
    });
}

BOOST_AUTO_TEST_CASE(redirect_error_to_a_future)
{
    operations_fixture r;
    error_code ec;
    auto f = r.conn.async_open("nonsense:///", asio::redirect_error(asio::use_future, ec));
    wait_for(r, f);
    BOOST_CHECK_NO_THROW(f.get());
    BOOST_TEST(ec.failed());
}

#if BOOST_ASIO_VERSION >= 102800
BOOST_AUTO_TEST_CASE(redirect_error_deferred)
{
    operations_fixture r;
    error_code ec;
    outcome o;
    r.conn.async_open("nonsense:///", asio::redirect_error(asio::deferred, ec))(
        [note = o.handler()] { note({}); });
    r.run_until_done(o);
    BOOST_TEST(ec.failed());
}
#endif

BOOST_AUTO_TEST_SUITE_END()

// The arguments no longer exist when the operation is launched.
BOOST_FIXTURE_TEST_SUITE(temporaries, operations_fixture)

BOOST_AUTO_TEST_CASE(of_open)
{
    auto by_uri = [&] {
        std::string uri = "test:///default";
        return conn.async_open(uri, asio::deferred);
    }();
    outcome o;
    std::move(by_uri)(o.handler());
    check_result(o);
    conn.close();

    auto by_options = [&] {
        avirt::open_options options;
        options.uri = std::string("test:///") + "default";
        return conn.async_open(options, asio::deferred);
    }();
    outcome second;
    std::move(by_options)(second.handler());
    check_result(second);

    auto literal = [&] {
        const char uri[] = "nonsense:///with/a/name/that/does/not/fit/a/small/string";
        return conn.async_open(uri, asio::deferred);
    }();
    conn.close();
    avirt::error_details why;
    outcome third;
    std::move(literal)(avirt::with_details(third.handler(), why));
    run_until_done(third);
    BOOST_TEST(third.ec().failed());
}

BOOST_AUTO_TEST_CASE(of_call)
{
    open_connection();
    auto later = [&] {
        std::string text = "a text that does not fit a small string";
        auto owned = std::make_unique<int>(5);
        const auto f = [](virConnectPtr, const std::string& a, std::unique_ptr<int> b) {
            return static_cast<int>(a.size()) + *b;
        };
        return conn.async_call(avirt::calling(f, text, std::move(owned)), asio::deferred);
    }();
    outcome o;
    std::move(later)(o.handler());
    check_result(o);
    BOOST_TEST(o.bytes() == 44u);

    auto of_an_lvalue = [&] {
        const std::string text = "a text that does not fit a small string";
        auto f = [text](virConnectPtr) { return static_cast<int>(text.size()); };
        return conn.async_call(f, asio::deferred);
    }();
    outcome second;
    std::move(of_an_lvalue)(second.handler());
    run_until_done(second);
    BOOST_TEST(second.bytes() == 39u);

    auto with_arguments = [&] {
        const std::string text = "a text that does not fit a small string";
        return conn.async_call(
            avirt::calling(
                [](virConnectPtr, std::string_view a, const char* b, std::unique_ptr<int> c,
                   const char* none) {
                    return none ? 0 : static_cast<int>(a.size() + std::string_view(b).size()) + *c;
                },
                std::string_view(text), text.c_str(), std::make_unique<int>(5),
                static_cast<const char*>(nullptr)),
            asio::deferred);
    }();
    outcome third;
    std::move(with_arguments)(third.handler());
    check_result(third);
    BOOST_TEST(third.bytes() == 83u);
}

BOOST_AUTO_TEST_CASE(of_stream_open)
{
    open_connection();
    auto later = [&] {
        const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
        return stream.async_open(conn, avirt::screenshot{uuid}, asio::deferred);
    }();
    outcome o;
    std::move(later)(o.handler());
    check_result(o);
}

BOOST_AUTO_TEST_CASE(of_read_write_and_wait)
{
    open_stream();
    auto wait = [&] {
        const auto type = wait_type::read;
        return stream.async_wait(type, asio::deferred);
    }();
    auto read = [&] {
        const std::array buffers{asio::mutable_buffer(), asio::buffer(memory)};
        return stream.async_read_some(buffers, asio::deferred);
    }();
    auto write = [&] {
        const std::vector<asio::const_buffer> buffers(3);
        return stream.async_write_some(buffers, asio::deferred);
    }();
    outcome waited;
    std::move(wait)(waited.handler());
    check_result(waited);
    outcome was_read;
    std::move(read)(was_read.handler());
    check_result(was_read);
    BOOST_TEST(was_read.bytes() == memory.size());
    outcome written;
    std::move(write)(written.handler());
    check_result(written);
}

BOOST_AUTO_TEST_CASE(of_transfers_with_files)
{
    volumes = std::make_shared<volume_daemon>();
    open_connection(volumes->daemon.uri());
    const auto& v = *volumes;
    auto download = [&] {
        const auto options = std::make_unique<avirt::transfer_options>();
        options->on_progress = [copy = v.content](const avirt::progress&) {};
        const std::string copy = (v.directory.path / "copy").string();
        return avirt::async_download(
            conn, avirt::volume_locator::at_path(std::string("/vm")), copy, *options, asio::deferred);
    }();
    outcome downloaded;
    std::move(download)(downloaded.handler());
    check_result(downloaded);
    BOOST_TEST(downloaded.bytes() == v.size);
    auto upload = [&] {
        const std::string copy = (v.directory.path / "copy").string();
        return avirt::async_upload(
            conn, copy, avirt::volume_locator::at_path(std::string("/vm")), {}, asio::deferred);
    }();
    outcome uploaded;
    std::move(upload)(uploaded.handler());
    check_result(uploaded);
    BOOST_TEST(uploaded.bytes() == v.size);
    auto info = [&] {
        return avirt::async_volume_info(
            conn, avirt::volume_locator::at_path(std::string("/vm")), asio::deferred);
    }();
    outcome asked;
    std::move(info)(asked.handler());
    check_result(asked);
}

BOOST_AUTO_TEST_CASE(of_transfers_of_streams)
{
    volumes = std::make_shared<volume_daemon>();
    open_stream();
    auto receive = [&] {
        const auto sink = [this, owned = std::make_shared<int>(1)](asio::const_buffer bytes) {
            all_received.append(static_cast<const char*>(bytes.data()), bytes.size());
            *owned += 1;
        };
        return avirt::async_receive_all(stream, sink, {}, asio::deferred);
    }();
    outcome received;
    std::move(receive)(received.handler());
    check_result(received);
    BOOST_TEST(received.bytes() == all_received.size());
    auto screenshot = [&] {
        return avirt::async_screenshot(conn, avirt::screenshot{std::string("test")}, asio::deferred);
    }();
    outcome taken;
    std::move(screenshot)(taken.handler());
    check_result(taken);
    BOOST_TEST(taken.bytes() == all_received.size());
}

BOOST_AUTO_TEST_CASE(of_tokens)
{
    open_connection();
    avirt::error_details why;
    auto later = [&] {
        const avirt::screenshot opener{"nobody"};
        return stream.async_open(conn, opener, avirt::with_details(asio::deferred, why));
    }();
    outcome o;
    std::move(later)(o.handler());
    run_until_done(o);
    BOOST_TEST(o.ec() == avirt::condition::not_found);
    BOOST_TEST(why.code == int{VIR_ERR_NO_DOMAIN});
}

BOOST_AUTO_TEST_CASE(the_default_is_deferred)
{
    outcome o;
    conn.async_open("test:///default")(o.handler());
    check_result(o);
    outcome called;
    conn.async_call(virConnectNumOfDomains)(called.handler());
    check_result(called);
    outcome opened;
    stream.async_open(conn, avirt::screenshot{"test"})(opened.handler());
    check_result(opened);
    outcome waited;
    stream.async_wait(wait_type::read)(waited.handler());
    run_until_done(waited);
    outcome was_read;
    stream.async_read_some(asio::buffer(memory))(was_read.handler());
    run_until_done(was_read);
    BOOST_TEST(was_read.bytes() == memory.size());
    outcome written;
    stream.async_write_some(asio::const_buffer())(written.handler());
    run_until_done(written);
    outcome finished;
    stream.async_finish()(finished.handler());
    run_until_done(finished);
    outcome again;
    stream.async_abort()(again.handler());
    check_result(again, avirt::error::not_open);
    outcome closed;
    conn.async_close()(closed.handler());
    check_result(closed);
    outcome drained;
    loop.async_drain()(drained.handler());
    check_result(drained);
}

BOOST_AUTO_TEST_CASE(the_default_of_transfers_is_deferred)
{
    volumes = std::make_shared<volume_daemon>();
    const auto& v = *volumes;
    open_stream();
    outcome taken;
    avirt::async_screenshot(conn, avirt::screenshot{"test"})(taken.handler());
    check_result(taken);
    outcome received;
    avirt::async_receive_all(stream, asio::dynamic_buffer(all_received))(received.handler());
    check_result(received);
    outcome sent;
    avirt::async_send_all(stream, asio::const_buffer())(sent.handler());
    check_result(sent);
    outcome to_file;
    avirt::async_receive_sparse(stream, v.file)(to_file.handler()); // nothing, because it was received
    check_result(to_file);
    outcome of_file;
    avirt::async_send_sparse(stream, v.file)(of_file.handler());
    check_result(of_file);
    asio::local::connect_pair(near_end, far_end);
    far_end.shutdown(far_end.shutdown_send);
    outcome relayed;
    avirt::async_relay(stream, near_end)(relayed.handler());
    check_result(relayed);
    stream.close();
    conn.close();
    open_connection(v.daemon.uri());
    outcome asked;
    avirt::async_volume_info(conn, v.volume)(asked.handler());
    check_result(asked);
    outcome downloaded;
    avirt::async_download(conn, v.volume, v.directory.path / "copy")(downloaded.handler());
    check_result(downloaded);
    outcome uploaded;
    avirt::async_upload(conn, v.directory.path / "copy", v.volume)(uploaded.handler());
    check_result(uploaded);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
