// SPDX-License-Identifier: BSL-1.0

// Tests the views of a console session whose guest prints without end.

#include "console_viewer.hpp"
#include "session_fixture.hpp"

#include <avirt/avirt.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using avirt::console_session;
using avirt::console_session_options;
using avirt::console_state;
using avirt::console_view_options;
using avirt::error;

constexpr std::size_t line_size = 64;
const std::string line_begin = "\nflood ";

/// The number of the line that begins here; nothing if none does.
std::optional<unsigned long> number_at(std::string_view output, std::size_t at)
{
    if (at >= output.size() || !output.substr(at).starts_with(line_begin))
        return std::nullopt;
    const auto digits = output.substr(at + line_begin.size(), 8);
    if (digits.size() < 8 || digits.find_first_not_of("0123456789") != digits.npos)
        return std::nullopt;
    return std::stoul(std::string(digits));
}

/// Checks that the flood guest's lines, which are numbered, come in order, and none twice. Some bytes may be
/// missing: QEMU drops what a guest prints while the terminal is full, and a terminal that has not been read
/// keeps what was printed long ago. So a number may be made of parts of two; it is one if the next line has
/// the next number.
void check_numbers(std::string_view output)
{
    std::optional<unsigned long> last;
    for (auto at = output.find(line_begin); at < output.size(); at = output.find(line_begin, at + 1)) {
        const auto number = number_at(output, at);
        if (!number || number_at(output, at + line_size) != *number + 1)
            continue;
        if (last)
            BOOST_REQUIRE_GT(*number, *last);
        last = number;
    }
}

/// Checks each part of the output between two changes of state.
void check_numbers(const console_viewer& viewer)
{
    BOOST_TEST_REQUIRE(viewer.lost() == 0U);
    const std::string_view all = viewer.text();
    std::uint64_t from = viewer.first();
    for (const auto place : viewer.places()) {
        check_numbers(all.substr(from - viewer.first(), place - from));
        from = place;
    }
    check_numbers(all.substr(from - viewer.first()));
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(numbered_output, own_daemon_session_fixture)

BOOST_AUTO_TEST_CASE(all_views_are_equal_through_restarts_of_the_guest_and_of_the_daemon)
{
    start_guest("flood", avirt_flood_guest);
    console_session session{host, avirt::console{"flood"}, {.history = 4 * 1024 * 1024}};
    reach(session, console_state::attached);
    console_viewer all(session, console_view_options::everything);
    avirt::console_view absent{session};
    for (int i = 0; i < 6; ++i) {
        run_until([&, begin = session.end_offset()] { return session.end_offset() > begin + 100'000; });
        if (i % 2) {
            destroy("flood");
            reach(session, console_state::off);
            start_guest("flood", avirt_flood_guest);
        }
        else {
            leave(SIGKILL);
            reach(session, console_state::host_away);
            come_back();
        }
        reach(session, console_state::attached);
    }
    console_viewer late(session, console_view_options::everything);
    session.close();
    run_until([&] { return all.end() && late.end(); });
    BOOST_TEST(all.offset() == session.end_offset());
    BOOST_TEST(late.offset() == session.end_offset());
    check_numbers(all);
    check_numbers(late);
    BOOST_TEST((all.text().substr(late.first() - all.first()) == late.text()));
    destroy("flood");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(views, session_fixture)

BOOST_AUTO_TEST_CASE(views_that_do_not_read_hold_up_nobody)
{
    start_guest("flood", avirt_flood_guest);
    console_session session{host, avirt::console{"flood"}, {.history = 16 * 1024}};
    std::vector<avirt::console_view> frozen;
    for (int i = 0; i < 100; ++i)
        frozen.emplace_back(session);
    reach(session, console_state::attached);
    console_viewer live(session);
    run_until([&] { return live.text().size() > 500'000; });
    check_numbers(live.text());
    for (auto& view : frozen) {
        char byte = 0;
        outcome read;
        view.async_read_some(asio::buffer(&byte, 1), read.handler());
        run_until_done(read);
        BOOST_TEST(read.ec() == error::output_lost);
        BOOST_TEST(view.lost() == view.offset());
    }
    session.close();
    destroy("flood");
}

BOOST_AUTO_TEST_CASE(views_come_and_go_on_many_threads)
{
    start_guest("flood", avirt_flood_guest);
    console_session session{host, avirt::console{"flood"}};
    reach(session, console_state::attached);
    constexpr int thread_count = 4, views_of_a_thread = 250;
    std::atomic<int> left{thread_count};
    std::atomic<int> broken{0};
    for (int t = 0; t < thread_count; ++t) {
        std::thread thread([&] {
            for (int i = 0; i < views_of_a_thread; ++i) {
                avirt::console_view view{
                    session, {.from = i % 2 ? console_view_options::live : console_view_options::everything}};
                char memory[200];
                std::string text;
                while (text.size() < 3 * line_size) {
                    // A state of the past, or output that is lost, is no failure.
                    std::promise<std::pair<error_code, std::size_t>> result;
                    view.async_read_some(asio::buffer(memory), [&](error_code e, std::size_t size) {
                        result.set_value({e, size});
                    });
                    const auto [ec, n] = result.get_future().get();
                    if (ec == error::output_lost)
                        text.clear();
                    else if (ec && ec != error::console_state_changed)
                        ++broken;
                    text.append(memory, n);
                }
                if (i % 3 == 0) // Destroyed while it reads.
                    view.async_read_some(asio::buffer(memory), asio::detached);
            }
            --left;
        });
        thread.detach(); // To join it would be to sleep.
    }
    run_until([&] { return left == 0; });
    BOOST_TEST(broken == 0);
    session.close();
    destroy("flood");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ending)

namespace {

/// Notes whether the coroutine that owns it still exists.
asio::awaitable<void> read_for_ever(std::shared_ptr<avirt::console_view> view, std::shared_ptr<int>)
{
    char memory[100];
    for (;;)
        co_await view->async_read_some(asio::buffer(memory), asio::as_tuple(asio::use_awaitable));
}

} // namespace

BOOST_AUTO_TEST_CASE(the_context_may_end_before_everything_else)
{
    auto& daemon = support::answering_daemon();
    const auto token = std::make_shared<int>();
    const std::string much(1'000'000, 'x');
    std::optional<console_session> session;
    std::optional<avirt::supervised_connection> host;
    {
        asio::io_context io;
        avirt::event_loop loop{io};
        avirt::supervision_options options;
        options.open.uri = daemon.uri();
        host.emplace(io, options);
        session.emplace(*host, avirt::console{"nobody"}, console_session_options{.on_demand = true});
        const auto view = std::make_shared<avirt::console_view>(*session);
        asio::co_spawn(io, read_for_ever(view, token), asio::detached);
        session->async_wait_for(console_state::stalled, [token](error_code) {});
        bool is_off = false;
        session->async_wait_for(console_state::off, [&](error_code) { is_off = true; });
        support::run_until(io, [&] { return is_off; });
        asio::async_write(*session, asio::buffer(much), [token](error_code, std::size_t) {});
        session->async_start([token](error_code) {});
    }
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(session->end_offset() == 0U);
    session->take_over();
    session->close();
    session.reset();
    host.reset();
}

BOOST_AUTO_TEST_SUITE_END()
