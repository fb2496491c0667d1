// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/coroutine.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <libvirt/virterror.h>

#include <exception>
#include <memory>
#include <string>
#include <tuple>

namespace {

using avirt::condition;
using support::run_coroutine;

BOOST_AUTO_TEST_SUITE(coroutine)

BOOST_AUTO_TEST_CASE(use_awaitable)
{
    for_each_prepared_operation([](auto op, operations_fixture& r) {
        run_coroutine(r, [&]() -> asio::awaitable<void> { co_await op.launch(r, asio::use_awaitable); });
    });
}

BOOST_AUTO_TEST_CASE(deferred)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        run_coroutine(r, [&]() -> asio::awaitable<void> { co_await op.launch(r, asio::deferred); });
    });
}

BOOST_AUTO_TEST_CASE(as_a_tuple)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        run_coroutine(r, [&]() -> asio::awaitable<void> {
            const auto result = co_await op.launch(r, asio::as_tuple(asio::use_awaitable));
            BOOST_TEST(!std::get<0>(result));
        });
    });
}

BOOST_AUTO_TEST_CASE(with_a_redirected_error)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        run_coroutine(r, [&]() -> asio::awaitable<void> {
            error_code ec = asio::error::fault;
            co_await op.launch(r, asio::redirect_error(asio::use_awaitable, ec));
            BOOST_TEST(!ec);
        });
    });
}

BOOST_AUTO_TEST_CASE(with_details)
{
    for_each_prepared_signature([](auto op, operations_fixture& r) {
        run_coroutine(r, [&]() -> asio::awaitable<void> {
            co_await op.launch(r, avirt::with_details(asio::use_awaitable));
        });
    });
}

BOOST_AUTO_TEST_CASE(results)
{
    operations_fixture r;
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        co_await r.conn.async_open("test:///default", asio::use_awaitable);
        const int domains = co_await r.conn.async_call(virConnectNumOfDomains, asio::use_awaitable);
        BOOST_TEST(domains == 1);
        auto find = [](virConnectPtr c) { return avirt::domain(virDomainLookupByName(c, "test")); };
        const avirt::domain vm = co_await r.conn.async_call(find, asio::use_awaitable);
        BOOST_TEST(static_cast<bool>(vm));
        auto [ec, n] =
            co_await r.conn.async_call([](virConnectPtr) { return -7; }, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(ec.failed());
        BOOST_TEST(n == -7);
        co_await r.conn.async_close(asio::use_awaitable);
    });
}

BOOST_AUTO_TEST_CASE(awaitable_operators)
{
    using namespace asio::experimental::awaitable_operators;
    operations_fixture r;
    r.open_stream();
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        // A screenshot takes no input, so that waiting to write never completes.
        const auto first = co_await (
            r.stream.async_read_some(asio::buffer(r.memory), asio::use_awaitable)
            || r.stream.async_wait(wait_type::write, asio::use_awaitable));
        BOOST_TEST(first.index() == 0u);
        BOOST_TEST(std::get<0>(first) == r.memory.size());
        const auto second = co_await (
            r.stream.async_wait(wait_type::write, asio::use_awaitable)
            || r.conn.async_call(virConnectNumOfDomains, asio::use_awaitable));
        BOOST_TEST(second.index() == 1u);
        const auto n = co_await (
            r.stream.async_read_some(asio::buffer(r.memory), asio::use_awaitable)
            && r.conn.async_call([](virConnectPtr) {}, asio::use_awaitable));
        BOOST_TEST(n > 0u);
    });
    BOOST_TEST(r.stream.is_open());
}

BOOST_AUTO_TEST_CASE(in_a_strand)
{
    operations_fixture r;
    r.open_stream();
    bool is_over = false;
    std::string text;
    const auto strand = asio::make_strand(r.io);
    asio::co_spawn(
        strand,
        [&]() -> asio::awaitable<void> {
            const auto [ec, n] = co_await asio::async_read(
                r.stream, asio::dynamic_buffer(text), asio::as_tuple(asio::use_awaitable));
            BOOST_TEST(ec == asio::error::eof);
            BOOST_TEST(n == 33443u);
            BOOST_TEST(strand.running_in_this_thread());
        },
        [&](std::exception_ptr e) { is_over = !e; });
    r.run_until([&] { return is_over; });
}

// Default tokens, and temporaries, which GCC 12 would destroy twice if they were aggregates.

struct default_token_fixture : operations_fixture
{
    const std::string uri = "test:///default";
    const std::string uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f"; // too long for a small string
};

BOOST_FIXTURE_TEST_CASE(openers_and_options_are_temporaries, default_token_fixture)
{
    run_coroutine(*this, [&]() -> asio::awaitable<void> {
        co_await conn.async_open(avirt::open_options{uri});
        co_await stream.async_open(conn, avirt::screenshot{uuid});
        co_await stream.async_abort();
        const auto failure_of = [&](auto op) -> asio::awaitable<error_code> {
            const auto [ec] = co_await std::move(op)(asio::as_tuple(asio::use_awaitable));
            co_return ec;
        };
        BOOST_TEST(
            co_await failure_of(stream.async_open(conn, avirt::console{uuid, uuid}))
            == condition::not_supported);
        const auto [channel] =
            co_await stream.async_open(conn, avirt::channel{uuid, uuid}, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(channel == condition::not_supported);
        const auto [download] = co_await stream.async_open(
            conn, avirt::volume_download{{uuid, uuid}}, asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(download == condition::not_found);
        const auto [upload] = co_await stream.async_open(
            conn, avirt::volume_upload{avirt::volume_locator::at_path(uuid), 5},
            asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(upload == condition::not_found);
        co_await conn.async_close();
    });
}

BOOST_FIXTURE_TEST_CASE(calling_replaces_a_closure, default_token_fixture)
{
    run_coroutine(*this, [&]() -> asio::awaitable<void> {
        co_await conn.async_open(uri);
        avirt::domain vm = co_await conn.async_call(avirt::calling(virDomainLookupByUUIDString, uuid));
        BOOST_TEST(std::string(virDomainGetName(vm.get())) == "test");
        co_await conn.async_call(avirt::calling(virDomainSuspend, vm.ref()));
        const auto xml = co_await conn.async_call(avirt::calling(virDomainGetXMLDesc, vm.ref(), 0));
        BOOST_TEST(xml.find("<name>test</name>") != std::string::npos);
        co_await conn.async_call(avirt::calling(
            [](virConnectPtr, avirt::domain d) { return virDomainResume(d.get()); }, std::move(vm)));
        const int size = co_await conn.async_call(
            avirt::own_connection,
            avirt::calling(
                [](virConnectPtr, const std::string& a, std::unique_ptr<int> b) {
                    return static_cast<int>(a.size()) + *b;
                },
                uuid + uuid, std::make_unique<int>(1)));
        BOOST_TEST(size == 73);
        co_await stream.async_open(
            conn,
            avirt::calling(
                [](virConnectPtr c, virStreamPtr s, const std::string& name) {
                    return avirt::screenshot{name}(c, s);
                },
                uuid));
        stream.close();
    });
}

BOOST_FIXTURE_TEST_CASE(results_of_calls_are_owned, default_token_fixture)
{
    run_coroutine(*this, [&]() -> asio::awaitable<void> {
        co_await conn.async_open(uri);
        const std::string xml = co_await conn.async_call([](virConnectPtr c) {
            const avirt::domain vm(virDomainLookupByName(c, "test"));
            return virDomainGetXMLDesc(vm.get(), 0);
        });
        BOOST_TEST(xml.find("<name>test</name>") != std::string::npos);
        const auto [ec, none] = co_await conn.async_call(
            avirt::calling(virDomainLookupByName, "nobody"), asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(ec == condition::not_found);
        BOOST_TEST(!none);
        const auto [failed, text] = co_await conn.async_call(
            [](virConnectPtr) -> char* { return virDomainGetXMLDesc(nullptr, 0); },
            asio::as_tuple(asio::use_awaitable));
        BOOST_TEST(failed.failed());
        BOOST_TEST(text.empty());
    });
}

BOOST_AUTO_TEST_CASE(with_details_throws_libvirts_message)
{
    operations_fixture r;
    r.open_connection();
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        const avirt::screenshot opener{"nobody"};
        try {
            co_await r.stream.async_open(r.conn, opener, avirt::with_details(asio::use_awaitable));
            BOOST_ERROR("opened on a missing domain");
        }
        catch (const avirt::exception& e) {
            BOOST_TEST(e.code() == avirt::condition::not_found);
            BOOST_TEST(e.details().code == int{VIR_ERR_NO_DOMAIN});
            BOOST_TEST(!e.details().message.empty());
            BOOST_TEST(std::string(e.what()).find(e.details().message) != std::string::npos);
        }
        try {
            // The function returns void: before Boost 1.88, Asio does not compile void(exception_ptr, T)
            // here.
            co_await r.conn.async_call(
                [](virConnectPtr) {
                    virDomainFree(nullptr);
                    avirt::throw_last_error();
                },
                avirt::with_details(asio::deferred));
            BOOST_ERROR("freed a null domain");
        }
        catch (const avirt::exception& e) {
            BOOST_TEST(!e.details().message.empty());
        }
    });
}

BOOST_AUTO_TEST_CASE(with_details_throws_through_composed_operations)
{
    operations_fixture r;
    r.open_stream();
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        std::string text;
        try {
            co_await asio::async_read(
                r.stream, asio::dynamic_buffer(text), avirt::with_details(asio::use_awaitable));
            BOOST_ERROR("the picture has no end");
        }
        catch (const avirt::exception& e) {
            BOOST_TEST(e.code() == asio::error::eof);
        }
        BOOST_TEST(text.size() == 33443u);
        r.stream.close();
        try {
            co_await asio::async_read_until(
                r.stream, asio::dynamic_buffer(text), "nothing of the kind",
                avirt::with_details(asio::use_awaitable));
        }
        catch (const avirt::exception& e) {
            BOOST_TEST(e.code() == avirt::error::not_open);
        }
    });
}

BOOST_AUTO_TEST_CASE(with_details_fills_the_callers_details)
{
    operations_fixture r;
    r.open_connection();
    run_coroutine(r, [&]() -> asio::awaitable<void> {
        const avirt::screenshot opener{"nobody"};
        avirt::error_details why;
        const auto [ec] = co_await r.stream.async_open(
            r.conn, opener, avirt::with_details(asio::as_tuple(asio::use_awaitable), why));
        BOOST_TEST(ec == avirt::condition::not_found);
        BOOST_TEST(why.code == int{VIR_ERR_NO_DOMAIN});
        BOOST_TEST(!why.message.empty());
        avirt::error_details other;
        BOOST_CHECK_THROW(
            co_await r.stream.async_open(r.conn, opener, avirt::with_details(asio::use_awaitable, other)),
            boost::system::system_error);
        BOOST_TEST(other.message == why.message);
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
