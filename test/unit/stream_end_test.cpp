// SPDX-License-Identifier: BSL-1.0
#include "stream_fixture.hpp"

#include <support/cancellation_types.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/test/data/test_case.hpp>

#include <array>
#include <optional>

namespace {

namespace data = boost::unit_test::data;
using asio::cancellation_type;
using wait_type = avirt::async_stream::wait_type;

struct end_fixture : stream_fixture
{
    std::array<char, 64> memory{};
    outcome read;
    outcome write;
    outcome waits[3];

    void start_everything(bool with_write = true)
    {
        stream.async_read_some(asio::buffer(memory), read.handler());
        for (auto type : {wait_type::read, wait_type::write, wait_type::error})
            stream.async_wait(type, waits[static_cast<int>(type)].handler());
        if (with_write)
            stream.async_write_some(asio::buffer("abc", 3), write.handler());
    }

    void check_everything_aborted(bool with_write = true)
    {
        run_until_done(waits[2]);
        settle();
        check(read, aborted);
        for (const auto& w : waits)
            check(w, aborted);
        if (with_write)
            check(write, aborted);
    }

    bool is_freed() const
    {
        return fake->references() == 0;
    }
};

BOOST_FIXTURE_TEST_SUITE(stream_end, end_fixture)

BOOST_AUTO_TEST_CASE(finished)
{
    open();
    start_everything(false);
    settle();
    outcome finish;
    stream.async_finish(finish.handler());
    BOOST_TEST(!stream.is_open());
    BOOST_TEST(!finish);
    run_until_done(finish);
    check(finish, {});
    check_everything_aborted(false);
    BOOST_TEST(fake->finishes() == 1);
    BOOST_TEST(fake->aborts() == 0);
    BOOST_TEST(!fake->has_callback());
    run_until([&] { return is_freed(); });
}

BOOST_AUTO_TEST_CASE(was_aborted)
{
    open();
    start_everything();
    settle();
    outcome abort;
    stream.async_abort(abort.handler());
    BOOST_TEST(!stream.is_open());
    run_until_done(abort);
    check(abort, {});
    check_everything_aborted();
    BOOST_TEST(fake->finishes() == 0);
    BOOST_TEST(fake->aborts() == 1);
}

BOOST_DATA_TEST_CASE(an_end_that_fails_ends_all_the_same, data::make({false, true}), finishes)
{
    open();
    fake->fail_ending("the daemon is not amused");
    avirt::error_details why;
    outcome end;
    if (finishes)
        stream.async_finish(avirt::with_details(end.handler(), why));
    else
        stream.async_abort(avirt::with_details(end.handler(), why));
    run_until_done(end);
    check(end, error_code(VIR_ERR_OPERATION_FAILED, avirt::libvirt_category()));
    BOOST_TEST(why.message == "the daemon is not amused");
    BOOST_TEST(!stream.is_open());
    run_until([&] { return is_freed(); });
}

BOOST_AUTO_TEST_CASE(no_finish_while_a_write_is_under_way)
{
    open();
    stream.async_write_some(asio::buffer("abc", 3), write.handler());
    outcome finish;
    stream.async_finish(finish.handler());
    run_until_done(finish);
    check(finish, avirt::error::operation_in_progress);
    BOOST_TEST(stream.is_open());
    BOOST_TEST(!write);
    fake->take(3);
    run_until_done(write);
    check(write, {}, 3);
}

BOOST_AUTO_TEST_CASE(one_end_at_a_time_and_the_context_works_on)
{
    open();
    fake->block_ending();
    outcome first;
    stream.async_finish(first.handler());
    run_until([&] { return fake->finishes() == 1; });
    outcome second;
    stream.async_finish(second.handler());
    outcome third;
    stream.async_abort(third.handler());
    outcome reopened;
    stream.async_open(
        conn, [](virConnectPtr, virStreamPtr) { return 0; }, reopened.handler());
    settle();
    check(second, avirt::error::operation_in_progress);
    check(third, avirt::error::operation_in_progress);
    check(reopened, avirt::error::operation_in_progress);
    BOOST_TEST(!first);
    fake->let_ending_go();
    run_until_done(first);
    check(first, {});
    open();
}

BOOST_DATA_TEST_CASE(
    a_cancelled_end_completes_at_once_and_goes_on, data::make(support::every_cancellation_type), type)
{
    open();
    fake->block_ending();
    outcome finish;
    asio::cancellation_signal signal;
    stream.async_finish(asio::bind_cancellation_slot(signal.slot(), finish.handler()));
    run_until([&] { return fake->finishes() == 1; });
    signal.emit(type);
    BOOST_TEST(!finish);
    settle();
    check(finish, aborted);
    BOOST_TEST(!is_freed());
    fake->let_ending_go();
    run_until([&] { return is_freed(); });
    settle();
    signal.emit(type);
    BOOST_TEST(finish.calls() == 1);
}

BOOST_AUTO_TEST_CASE(opened_again_while_the_cancelled_end_goes_on)
{
    open();
    const auto first = fake;
    first->block_ending();
    outcome finish;
    stream.async_finish(finish.handler());
    run_until([&] { return first->finishes() == 1; });
    stream.cancel();
    run_until_done(finish);
    open();
    outcome second_finish;
    stream.async_finish(second_finish.handler());
    run_until_done(second_finish);
    check(second_finish, {});
    check(finish, aborted);
    BOOST_TEST(first->references() == 1);
    first->let_ending_go();
    run_until([&] { return first->references() == 0; });
    BOOST_TEST(second_finish.calls() == 1);
}

BOOST_AUTO_TEST_CASE(to_close_aborts_without_blocking)
{
    open();
    fake->block_ending();
    start_everything();
    settle();
    stream.close();
    BOOST_TEST(!stream.is_open());
    check_everything_aborted();
    run_until([&] { return fake->aborts() == 1; });
    stream.close();
    fake->let_ending_go();
    run_until([&] { return is_freed(); });
    BOOST_TEST(fake->aborts() == 1);
}

BOOST_AUTO_TEST_CASE(to_destroy_aborts_too)
{
    open();
    start_everything();
    settle();
    {
        const auto destroyed = std::move(stream);
        BOOST_TEST(destroyed.is_open());
        BOOST_TEST(!stream.is_open());
    }
    check_everything_aborted();
    run_until([&] { return is_freed(); });
    BOOST_TEST(fake->aborts() == 1);
}

BOOST_AUTO_TEST_CASE(cancel_leaves_it_open)
{
    open();
    start_everything();
    settle();
    stream.cancel();
    BOOST_TEST(!read);
    check_everything_aborted();
    BOOST_TEST(stream.is_open());
    fake->take(3);
    write = {};
    stream.async_write_some(asio::buffer("abc", 3), write.handler());
    run_until_done(write);
    check(write, {}, 3);
}

BOOST_AUTO_TEST_CASE(released_as_it_is)
{
    open();
    start_everything();
    settle();
    const virStreamPtr released = stream.release();
    BOOST_TEST(released == fake->pointer());
    BOOST_TEST(!stream.is_open());
    BOOST_TEST(!stream.release());
    check_everything_aborted();
    BOOST_TEST(!fake->has_callback());
    BOOST_TEST(fake->references() == 1);
    BOOST_TEST(fake->aborts() + fake->finishes() == 0);
    virStreamFree(released);
}

BOOST_AUTO_TEST_CASE(a_refused_callback_is_a_refused_open)
{
    fake_stream::refuse_callbacks(true);
    outcome opened;
    stream.async_open(
        conn,
        [this](virConnectPtr, virStreamPtr s) {
            fake = fake_stream::of(s);
            return 0;
        },
        opened.handler());
    run_until_done(opened);
    fake_stream::refuse_callbacks(false);
    check(opened, error_code(VIR_ERR_NO_SUPPORT, avirt::libvirt_category()));
    BOOST_TEST(!stream.is_open());
    BOOST_TEST(support::eventually([&] { return is_freed(); }));
    BOOST_TEST(fake->aborts() == 1);
}

BOOST_AUTO_TEST_CASE(a_failed_opener_leaves_nothing_behind)
{
    outcome opened;
    stream.async_open(
        conn,
        [this](virConnectPtr, virStreamPtr s) {
            fake = fake_stream::of(s);
            return virDomainFree(nullptr);
        },
        opened.handler());
    run_until_done(opened);
    check(opened, error_code(VIR_ERR_INVALID_DOMAIN, avirt::libvirt_category()));
    BOOST_TEST(!stream.is_open());
    BOOST_TEST(support::eventually([&] { return is_freed(); }));
    BOOST_TEST(fake->aborts() == 0);
}

BOOST_DATA_TEST_CASE(
    what_a_cancelled_opener_opens_is_aborted, data::make(support::every_cancellation_type), type)
{
    support::gate g;
    outcome opened;
    asio::cancellation_signal signal;
    stream.async_open(
        conn,
        [this, pass = g.entry()](virConnectPtr, virStreamPtr s) {
            fake = fake_stream::of(s);
            return pass();
        },
        asio::bind_cancellation_slot(signal.slot(), opened.handler()));
    run_until([&] { return g.arrived() == 1; });
    signal.emit(type);
    BOOST_TEST(!opened);
    settle();
    check(opened, aborted);
    g.open();
    BOOST_TEST(support::eventually([&] { return fake_stream::alive() == 0; }));
    BOOST_TEST(fake->aborts() == 1);
    BOOST_TEST(!stream.is_open());
}

BOOST_AUTO_TEST_CASE(adopted_where_libvirt_refuses_the_callback)
{
    fake_stream::refuse_callbacks(true);
    adopt();
    fake_stream::refuse_callbacks(false);
    stream.async_read_some(asio::buffer(memory), read.handler());
    run_until_done(read);
    check(read, error_code(VIR_ERR_NO_SUPPORT, avirt::libvirt_category()));
}

BOOST_AUTO_TEST_CASE(moved_with_everything_under_way)
{
    open();
    start_everything();
    avirt::async_stream moved(std::move(stream));
    const auto first = fake;
    open(); // The moved-from stream can be opened again.
    BOOST_TEST(moved.native_handle() == first->pointer());
    first->deliver("abc");
    first->take(3);
    run_until([&] { return read.calls() == 1 && write.calls() == 1; });
    check(read, {}, 3);
    check(write, {}, 3);
    stream = std::move(moved); // Aborts the stream that was open.
    run_until([&] { return is_freed(); });
    BOOST_TEST(stream.native_handle() == first->pointer());
    BOOST_TEST(!waits[static_cast<int>(wait_type::error)]);
    fake = first;
}

BOOST_AUTO_TEST_CASE(moved_inside_its_own_handlers)
{
    open();
    std::optional<avirt::async_stream> target;
    fake->deliver("x");
    stream.async_read_some(asio::buffer(memory), [&](error_code ec, std::size_t n) {
        target.emplace(std::move(stream));
        read.handler()(ec, n);
    });
    run_until_done(read);
    read = {};
    fake->deliver("y");
    target->async_read_some(asio::buffer(memory), read.handler());
    run_until_done(read);
    check(read, {}, 1);
    BOOST_TEST(memory[0] == 'y');
}

BOOST_AUTO_TEST_CASE(destroyed_inside_its_own_handlers)
{
    open();
    std::optional<avirt::async_stream> own(std::move(stream));
    fake->deliver("x");
    own->async_read_some(asio::buffer(memory), [&](error_code ec, std::size_t n) {
        read.handler()(ec, n);
        own.reset();
    });
    outcome other;
    own->async_wait(wait_type::error, other.handler());
    run_until_done(other);
    check(read, {}, 1);
    check(other, aborted);
    run_until([&] { return is_freed(); });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
