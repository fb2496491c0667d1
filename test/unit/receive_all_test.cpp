// SPDX-License-Identifier: BSL-1.0
#include "transfer_fixture.hpp"

#include <support/cancellation_types.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/test_case.hpp>

#include <list>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

namespace data = boost::unit_test::data;

/// A DynamicBuffer of the first kind only.
class old_dynamic_buffer
{
public:
    using const_buffers_type = asio::const_buffer;
    using mutable_buffers_type = asio::mutable_buffer;

    explicit old_dynamic_buffer(std::string& text) : text_(&text) {}

    std::size_t size() const
    {
        return size_;
    }

    std::size_t max_size() const
    {
        return 100'000;
    }

    std::size_t capacity() const
    {
        return text_->capacity();
    }

    const_buffers_type data() const
    {
        return asio::buffer(*text_, size_);
    }

    mutable_buffers_type prepare(std::size_t n)
    {
        text_->resize(size_ + n);
        return asio::buffer(*text_) + size_;
    }

    void commit(std::size_t n)
    {
        size_ += n;
        text_->resize(size_);
    }

    void consume(std::size_t) {}

private:
    std::string* text_;
    std::size_t size_ = 0;
};

static_assert(asio::is_dynamic_buffer_v1<old_dynamic_buffer>::value);
static_assert(!asio::is_dynamic_buffer_v2<old_dynamic_buffer>::value);

BOOST_FIXTURE_TEST_SUITE(receive_all, transfer_fixture)

BOOST_AUTO_TEST_CASE(into_a_dynamic_buffer)
{
    const auto sent = random_bytes(3'000'000);
    feed(source.far, sent);
    std::string text = "before ";
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, o.handler());
    check(o, {}, sent.size());
    BOOST_TEST((text == "before " + sent));
    BOOST_TEST(o.reached().hole_bytes == 0u);
    BOOST_TEST(o.reached().total == 0u);
}

BOOST_AUTO_TEST_CASE(into_a_dynamic_buffer_of_the_first_kind)
{
    const auto sent = random_bytes(90'000);
    feed(source.far, sent);
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, old_dynamic_buffer(text), options, o.handler());
    check(o, {}, sent.size());
    BOOST_TEST((text == sent));
}

BOOST_AUTO_TEST_CASE(into_a_vector)
{
    feed(source.far, "text");
    std::vector<std::byte> bytes;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(bytes), options, o.handler());
    check(o, {}, 4);
    BOOST_TEST(bytes.size() == 4u);
}

BOOST_DATA_TEST_CASE(a_dynamic_buffer_that_is_full, data::make({99, 100, 101, 250}), size)
{
    const auto sent = random_bytes(static_cast<std::size_t>(size));
    feed(source.far, sent);
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text, 100), options, o.handler());
    const bool fits = size <= 100;
    check(
        o, fits ? error_code() : asio::error::no_buffer_space,
        static_cast<std::uint64_t>(std::min(size, 100)));
    BOOST_TEST(text == sent.substr(0, 100));
}

BOOST_AUTO_TEST_CASE(into_a_function)
{
    const auto sent = random_bytes(3'000'000);
    feed(source.far, sent);
    std::string text;
    const auto take = [&](asio::const_buffer bytes) {
        BOOST_TEST(bytes.size() > 0u);
        text.append(static_cast<const char*>(bytes.data()), bytes.size());
    };
    transfer_outcome o;
    avirt::async_receive_all(source.near, take, options, o.handler());
    check(o, {}, sent.size());
    BOOST_TEST((text == sent));
}

BOOST_AUTO_TEST_CASE(into_a_stream)
{
    const auto sent = random_bytes(3'000'000);
    feed(source.far, sent);
    const auto arrived = drain(sink.far);
    transfer_outcome o;
    avirt::async_receive_all(source.near, sink.near, options, o.handler());
    check(o, {}, sent.size());
    check_received(sink.near, *arrived, sent);
}

BOOST_AUTO_TEST_CASE(a_stream_that_does_not_take_anything_holds_the_other_back)
{
    const auto sent = random_bytes(20'000'000);
    feed(source.far, sent);
    transfer_outcome o;
    avirt::async_receive_all(source.near, sink.near, options, o.handler());
    settle();
    BOOST_TEST(!o.is_done());
    const auto arrived = drain(sink.far);
    check(o, {}, sent.size());
    check_received(sink.near, *arrived, sent);
}

BOOST_AUTO_TEST_CASE(nothing_at_all)
{
    int reports = 0;
    options.on_progress = [&](const progress& p) {
        ++reports;
        BOOST_TEST(p.bytes == 0u);
    };
    feed(source.far, "");
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, o.handler());
    check(o, {}, 0);
    BOOST_TEST(reports == 1);
}

BOOST_AUTO_TEST_CASE(nothing_is_called_inside_the_initiating_function)
{
    bool is_initiating = true;
    bool was_called = false;
    const auto note = [&](const auto&...) {
        BOOST_TEST(!is_initiating);
        was_called = true;
    };
    options.on_progress = note;
    feed(source.far, "text");
    transfer_outcome o;
    asio::post(io, [&] {
        avirt::async_receive_all(
            source.near, [&](asio::const_buffer) { note(); }, options, o.handler());
        BOOST_TEST(!o.is_done());
        is_initiating = false;
    });
    check(o, {}, 4);
    BOOST_TEST(was_called);
}

BOOST_AUTO_TEST_CASE(every_part)
{
    const std::string sent = "0123456789";
    for (std::size_t offset = 0; offset <= 12; ++offset) {
        for (std::size_t length = 0; length <= 12; ++length) {
            BOOST_TEST_CONTEXT("offset " << offset << ", length " << length)
            {
                socket_pair pair(io);
                feed(pair.far, sent);
                options.offset = offset;
                options.length = length;
                std::string text;
                transfer_outcome o;
                avirt::async_receive_all(pair.near, asio::dynamic_buffer(text), options, o.handler());
                const auto expected =
                    sent.substr(std::min(offset, sent.size()), length == 0 ? std::string::npos : length);
                check(o, {}, expected.size());
                BOOST_TEST(text == expected);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(no_more_than_the_length_is_read)
{
    feed(source.far, "0123456789");
    options.offset = 2;
    options.length = 3;
    std::string text, rest;
    transfer_outcome first, second;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, first.handler());
    check(first, {}, 3);
    avirt::async_receive_all(source.near, asio::dynamic_buffer(rest), transfer_options(), second.handler());
    check(second, {}, 5);
    BOOST_TEST(text == "234");
    BOOST_TEST(rest == "56789");
}

BOOST_AUTO_TEST_CASE(a_source_that_fails)
{
    asio::write(source.near, asio::buffer("unread", 6));
    asio::write(source.far, asio::buffer("data", 4));
    source.far.close(); // With unread data: a reset, after what was sent.
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, o.handler());
    run_until_done(o);
    BOOST_TEST(o.ec() == asio::error::connection_reset);
    BOOST_TEST(o.reached().bytes == text.size());
}

BOOST_AUTO_TEST_CASE(a_sink_that_fails)
{
    feed(source.far, "data");
    sink.far.close();
    transfer_outcome o;
    avirt::async_receive_all(source.near, sink.near, options, o.handler());
    check(o, asio::error::broken_pipe, 0);
}

BOOST_AUTO_TEST_CASE(a_function_that_throws)
{
    const auto receive = [&](auto take, const error_code& expected, const std::string& text) {
        socket_pair pair(io);
        feed(pair.far, "data");
        transfer_outcome o;
        avirt::error_details details;
        avirt::async_receive_all(pair.near, take, options, avirt::with_details(o.handler(), details));
        check(o, expected, 0);
        BOOST_TEST(details.message == text);
    };
    receive(
        [](asio::const_buffer) { throw std::runtime_error("no room"); }, avirt::error::call_threw, "no room");
    receive(
        [](asio::const_buffer) {
            throw boost::system::system_error(error_code(asio::error::no_memory), "a sink");
        },
        asio::error::no_memory,
        boost::system::system_error(error_code(asio::error::no_memory), "a sink").what());
    receive(
        [](asio::const_buffer) { throw 42; }, avirt::error::call_threw,
        "an exception that is not a std::exception");
}

BOOST_AUTO_TEST_CASE(progress_that_throws)
{
    options.on_progress = [](const progress&) { throw std::runtime_error("too slow"); };
    feed(source.far, "data");
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, o.handler());
    check(o, avirt::error::call_threw, 4);
}

BOOST_AUTO_TEST_CASE(progress_that_throws_after_a_failure)
{
    options.on_progress = [](const progress&) { throw std::runtime_error("again"); };
    feed(source.far, "data");
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text, 2), options, o.handler());
    check(o, asio::error::no_buffer_space, 2);
}

// Holes

BOOST_AUTO_TEST_CASE(holes_remain_holes)
{
    holey_stream from(io), to(io);
    from.content = {{"ab"}, {{}, 1ull << 40}, {random_bytes(100)}, {{}, 5}};
    transfer_outcome o;
    avirt::async_receive_all(from, to, options, o.handler());
    check(o, {}, 102);
    BOOST_TEST(o.reached().hole_bytes == (1ull << 40) + 5);
    BOOST_REQUIRE(to.content.size() == 4u);
    BOOST_TEST(to.content[0].data == "ab");
    BOOST_TEST(to.content[1].hole == 1ull << 40);
    BOOST_TEST((to.content[2].data == random_bytes(100)));
    BOOST_TEST(to.content[3].hole == 5u);
}

BOOST_AUTO_TEST_CASE(holes_become_zeros)
{
    const std::deque<holey_stream::extent> content = {{"ab"}, {{}, 3'000'000}, {"cd"}};
    holey_stream from(io), to(io, 1'000'000);
    from.content = content;
    options.sparse = false;
    transfer_outcome not_sparse;
    avirt::async_receive_all(from, to, options, not_sparse.handler());
    check(not_sparse, {}, 3'000'004);
    BOOST_TEST(not_sparse.reached().hole_bytes == 0u);
    BOOST_TEST(to.content.size() == 1u);
    from.content = content;
    options.sparse = true;
    std::string text;
    transfer_outcome into_memory;
    avirt::async_receive_all(from, asio::dynamic_buffer(text), options, into_memory.handler());
    check(into_memory, {}, 3'000'004);
    BOOST_TEST((text == to.text()));
}

BOOST_AUTO_TEST_CASE(every_part_of_a_stream_with_holes)
{
    const std::deque<holey_stream::extent> content = {{{}, 3}, {"abc"}, {{}, 2}, {{}, 4}, {"d"}};
    holey_stream whole(io);
    whole.content = content;
    const auto all = whole.text();
    for (std::size_t offset = 0; offset <= 15; ++offset) {
        for (std::size_t length = 0; length <= 15; ++length) {
            BOOST_TEST_CONTEXT("offset " << offset << ", length " << length)
            {
                holey_stream from(io, 2), to(io);
                from.content = content;
                options.offset = offset;
                options.length = length;
                transfer_outcome o;
                avirt::async_receive_all(from, to, options, o.handler());
                const auto expected =
                    all.substr(std::min(offset, all.size()), length == 0 ? std::string::npos : length);
                run_until_done(o);
                BOOST_TEST(!o.ec());
                BOOST_TEST(o.reached().bytes + o.reached().hole_bytes == expected.size());
                BOOST_TEST((to.text() == expected));
                for (const auto& e : to.content)
                    BOOST_TEST(e.data.find('\0') == std::string::npos);
            }
        }
    }
}

// Cancellation

BOOST_DATA_TEST_CASE(cancelled_while_it_reads, data::make(support::every_cancellation_type), type)
{
    asio::write(source.far, asio::buffer("data", 4));
    asio::cancellation_signal signal;
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(
        source.near, asio::dynamic_buffer(text), options,
        asio::bind_cancellation_slot(signal.slot(), o.handler()));
    run_until([&] { return text.size() == 4; });
    settle();
    signal.emit(type);
    check(o, aborted, 4);
    feed(source.far, "more");
    transfer_outcome again;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, again.handler());
    check(again, {}, 4);
}

BOOST_DATA_TEST_CASE(cancelled_while_it_writes, data::make(support::every_cancellation_type), type)
{
    feed(source.far, random_bytes(20'000'000));
    asio::cancellation_signal signal;
    transfer_outcome o;
    avirt::async_receive_all(
        source.near, sink.near, options, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    settle();
    signal.emit(type);
    run_until_done(o);
    BOOST_TEST(o.ec() == aborted);
    std::string received;
    error_code ec;
    sink.near.close();
    asio::read(sink.far, asio::dynamic_buffer(received), ec);
    BOOST_TEST(o.reached().bytes == received.size());
}

BOOST_DATA_TEST_CASE(cancelled_before_it_begins, data::make(support::every_cancellation_type), type)
{
    asio::cancellation_signal signal;
    bool was_called = false;
    transfer_outcome o;
    asio::write(source.far, asio::buffer("data", 4));
    avirt::async_receive_all(
        source.near, [&](asio::const_buffer) { was_called = true; }, options,
        asio::bind_cancellation_slot(signal.slot(), o.handler()));
    signal.emit(type);
    check(o, aborted, 0);
    BOOST_TEST(!was_called);
}

BOOST_DATA_TEST_CASE(cancelled_by_the_function, data::make(support::every_cancellation_type), type)
{
    asio::write(source.far, asio::buffer("data", 4));
    asio::cancellation_signal signal;
    transfer_outcome o;
    const auto take = [&](asio::const_buffer) { signal.emit(type); };
    avirt::async_receive_all(
        source.near, take, options, asio::bind_cancellation_slot(signal.slot(), o.handler()));
    check(o, aborted, 4);
}

BOOST_DATA_TEST_CASE(
    cancelled_while_the_rate_holds_it_back, data::make(support::every_cancellation_type), type)
{
    feed(source.far, random_bytes(1000));
    options.bytes_per_second = 10; // The second piece waits for a tenth of a second, all of them for long.
    asio::cancellation_signal signal;
    transfer_outcome o;
    std::string text;
    avirt::async_receive_all(
        source.near, asio::dynamic_buffer(text), options,
        asio::bind_cancellation_slot(signal.slot(), o.handler()));
    run_until([&] { return !text.empty(); });
    signal.emit(type);
    run_until_done(o);
    BOOST_TEST(o.ec() == aborted);
    BOOST_TEST(text.size() < 100u);
}

// Lifetime

/// A function that owns something, as those of applications do.
struct owning_sink
{
    explicit owning_sink(std::shared_ptr<int> h) : held(std::move(h)) {}

    void operator()(asio::const_buffer) const {}

    std::shared_ptr<int> held;
};

BOOST_AUTO_TEST_CASE(what_it_owns_is_gone_when_it_is_done)
{
    const auto held = std::make_shared<int>();
    options.on_progress = [held](const progress&) {};
    feed(source.far, "data");
    transfer_outcome o;
    bool is_alone = false;
    avirt::async_receive_all(
        source.near, owning_sink(held), std::move(options), [&, h = o.handler()](error_code ec, progress p) {
            is_alone = held.use_count() == 1;
            h(ec, p);
        });
    check(o, {}, 4);
    BOOST_TEST(is_alone);
}

BOOST_DATA_TEST_CASE(ends_with_its_context, data::xrange(4), stage)
{
    const auto held = std::make_shared<int>();
    bool was_called = false;
    {
        transfer_fixture f;
        avirt::transfer_limits limits{1};
        transfer_outcome other;
        std::string text;
        if (stage == 1) // while it writes
            f.feed(f.source.far, random_bytes(20'000'000));
        if (stage == 2) { // while the rate holds it back
            f.feed(f.source.far, random_bytes(1000));
            f.options.bytes_per_second = 10;
        }
        f.options.limits = limits;
        if (stage == 3) // while it waits for a place
            avirt::async_receive_all(f.source.near, f.sink.near, f.options, other.handler());
        f.options.on_progress = [held](const progress&) {};
        asio::co_spawn(
            f.io,
            [&]() -> asio::awaitable<void> {
                const auto in_the_frame = held;
                co_await avirt::async_receive_all(f.source.near, f.sink.near, f.options, asio::use_awaitable);
                was_called = true;
            },
            asio::detached);
        f.settle();
        BOOST_TEST(held.use_count() > 1);
    }
    BOOST_TEST(held.use_count() == 1);
    BOOST_TEST(!was_called);
}

BOOST_AUTO_TEST_CASE(ends_with_its_context_before_it_begins)
{
    const auto held = std::make_shared<int>();
    {
        transfer_fixture f;
        avirt::async_receive_all(
            f.source.near, owning_sink(held), transfer_options(), [held](error_code, progress) {});
        BOOST_TEST(held.use_count() > 1);
    }
    BOOST_TEST(held.use_count() == 1);
}

// Tokens

BOOST_AUTO_TEST_CASE(launched_later)
{
    feed(source.far, "data");
    std::string text;
    auto operation = [&] {
        transfer_options temporary;
        temporary.offset = 1;
        return avirt::async_receive_all(
            source.near, asio::dynamic_buffer(text), std::move(temporary), asio::deferred);
    }();
    settle();
    BOOST_TEST(text.empty());
    transfer_outcome o;
    std::move(operation)(o.handler());
    check(o, {}, 3);
    BOOST_TEST(text == "ata");
}

BOOST_AUTO_TEST_CASE(temporaries_in_a_coroutine)
{
    const auto held = std::make_shared<int>();
    bool is_done = false;
    const auto receive = [&]() -> asio::awaitable<void> {
        std::string text;
        const auto p = co_await avirt::async_receive_all(source.near, asio::dynamic_buffer(text));
        BOOST_TEST(p.bytes == 4u);
        BOOST_TEST(text == "data");
        socket_pair second(io);
        feed(second.far, "more");
        const auto [ec, q] = co_await avirt::async_receive_all(
            second.near, owning_sink(held), transfer_options(), asio::as_tuple(asio::deferred));
        BOOST_TEST(!ec);
        BOOST_TEST(q.bytes == 4u);
        is_done = true;
    };
    feed(source.far, "data");
    asio::co_spawn(io, receive, asio::detached);
    run_until([&] { return is_done; });
    settle();
    BOOST_TEST(held.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(everything_runs_on_the_executor_of_the_handler)
{
    const auto strand = asio::make_strand(io);
    int calls = 0;
    const auto check_strand = [&](const auto&...) {
        ++calls;
        BOOST_TEST(strand.running_in_this_thread());
    };
    options.on_progress = check_strand;
    feed(source.far, "data");
    transfer_outcome o;
    avirt::async_receive_all(
        source.near, [&](asio::const_buffer) { check_strand(); }, options,
        asio::bind_executor(strand, [&, h = o.handler()](error_code ec, progress p) {
            check_strand();
            h(ec, p);
        }));
    check(o, {}, 4);
    BOOST_TEST(calls == 3);
}

BOOST_AUTO_TEST_CASE(a_handler_whose_executor_is_for_completions_only)
{
    feed(source.far, "data");
    std::string text;
    transfer_outcome o;
    avirt::async_receive_all(
        source.near, asio::dynamic_buffer(text), options,
        asio::bind_executor(asio::any_completion_executor(io.get_executor()), o.handler()));
    check(o, {}, 4);
}

// Limits

BOOST_AUTO_TEST_CASE(places_are_given_away_first_come_first_served)
{
    options.limits = avirt::transfer_limits(2);
    std::list<socket_pair> pairs;
    std::vector<std::string> texts(6);
    std::vector<transfer_outcome> outcomes(6);
    for (std::size_t i = 0; i < 6; ++i) {
        pairs.emplace_back(io);
        avirt::async_receive_all(
            pairs.back().near, asio::dynamic_buffer(texts[i]), options, outcomes[i].handler());
    }
    for (auto& p : pairs)
        asio::write(p.far, asio::buffer("x", 1));
    auto next = pairs.begin();
    for (std::size_t i = 0; i < 6; ++i) {
        settle();
        for (std::size_t k = 0; k < 6; ++k)
            BOOST_TEST(texts[k].size() == (k < i + 2 ? 1u : 0u));
        next->far.close();
        check(outcomes[i], {}, 1);
        ++next;
    }
}

BOOST_DATA_TEST_CASE(cancelled_while_it_waits_for_a_place, data::make(support::every_cancellation_type), type)
{
    options.limits = avirt::transfer_limits(1);
    std::string texts[3];
    transfer_outcome outcomes[3];
    socket_pair third(io);
    asio::cancellation_signal signal;
    int reports = 0;
    avirt::async_receive_all(source.near, asio::dynamic_buffer(texts[0]), options, outcomes[0].handler());
    auto second = options;
    second.on_progress = [&](const progress&) { ++reports; };
    avirt::async_receive_all(
        sink.near, asio::dynamic_buffer(texts[1]), second,
        asio::bind_cancellation_slot(signal.slot(), outcomes[1].handler()));
    avirt::async_receive_all(third.near, asio::dynamic_buffer(texts[2]), options, outcomes[2].handler());
    feed(third.far, "third");
    settle();
    signal.emit(type);
    check(outcomes[1], aborted, 0);
    BOOST_TEST(reports == 1);
    BOOST_TEST(!outcomes[2].is_done());
    source.far.close();
    check(outcomes[0], {}, 0);
    check(outcomes[2], {}, 5);
}

BOOST_AUTO_TEST_CASE(a_failed_transfer_gives_its_place_back)
{
    options.limits = avirt::transfer_limits(1);
    feed(source.far, "data");
    transfer_outcome first, second;
    const auto fail = [](asio::const_buffer) { throw std::runtime_error("no"); };
    avirt::async_receive_all(source.near, fail, options, first.handler());
    sink.far.close();
    std::string text;
    avirt::async_receive_all(sink.near, asio::dynamic_buffer(text), options, second.handler());
    check(second, {}, 0);
    check(first, avirt::error::call_threw, 0);
}

BOOST_AUTO_TEST_CASE(a_place_is_given_back_with_its_context)
{
    options.limits = avirt::transfer_limits(1);
    transfer_outcome o;
    std::string text;
    {
        transfer_fixture other;
        avirt::async_receive_all(
            other.source.near, asio::dynamic_buffer(text), options, [](error_code, progress) {});
        other.settle();
        avirt::async_receive_all(source.near, asio::dynamic_buffer(text), options, o.handler());
        feed(source.far, "data");
        settle();
        BOOST_TEST(!o.is_done());
    }
    check(o, {}, 4);
}

BOOST_AUTO_TEST_CASE(no_limit_of_transfers)
{
    options.limits = avirt::transfer_limits(0);
    std::string texts[2];
    transfer_outcome outcomes[2];
    avirt::async_receive_all(source.near, asio::dynamic_buffer(texts[0]), options, outcomes[0].handler());
    avirt::async_receive_all(sink.near, asio::dynamic_buffer(texts[1]), options, outcomes[1].handler());
    feed(sink.far, "data");
    check(outcomes[1], {}, 4);
    source.far.close();
    check(outcomes[0], {}, 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
