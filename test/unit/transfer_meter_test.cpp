// SPDX-License-Identifier: BSL-1.0
#include "transfer/transfer_meter.hpp"
#include "transfer/transfer_rate.hpp"

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace {

namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using avirt::progress;
using avirt::detail::transfer_meter;
using avirt::detail::transfer_rate;
using clock = std::chrono::steady_clock;

BOOST_AUTO_TEST_SUITE(transfer_rates)

/// Several transfers share a rate for ten seconds. Each moves pieces of any size up to the largest, and waits
/// a little longer than it has to.
BOOST_DATA_TEST_CASE(within_five_percent_over_ten_seconds, data::xrange(40u), seed)
{
    std::mt19937 random(seed);
    const auto between = [&](std::uint64_t low, std::uint64_t high) {
        return std::uniform_int_distribution<std::uint64_t>(low, high)(random);
    };
    const auto limit = between(1000, 1'000'000'000);
    transfer_rate rate(limit);
    const clock::time_point start{1000h};
    std::vector<clock::time_point> ready(between(1, 8), start);
    std::uint64_t moved = 0;
    for (;;) {
        auto& now = *std::ranges::min_element(ready);
        const auto size = between(1, std::min<std::size_t>(rate.largest_piece(), 1'048'480));
        now = std::max(now, rate.reserve(size, now));
        if (now >= start + 10s)
            break;
        moved += size;
        now += std::chrono::nanoseconds(between(0, 10'000) * size / 1'048'480);
    }
    BOOST_TEST(moved <= limit * 105 / 10);
    BOOST_TEST(moved >= limit * 95 / 10);
}

BOOST_AUTO_TEST_CASE(the_first_piece_does_not_wait)
{
    transfer_rate rate(1000);
    const clock::time_point now{1000h};
    BOOST_TEST((rate.reserve(100, now) <= now));
    BOOST_TEST((rate.reserve(100, now) <= now)); // A tenth of a second is made up for.
    BOOST_TEST((rate.reserve(100, now) == now + 100ms));
}

BOOST_AUTO_TEST_CASE(time_that_is_given_back_is_free_for_others)
{
    transfer_rate rate(1000);
    const clock::time_point now{1000h};
    rate.reserve(100, now);
    rate.reserve(100, now);
    BOOST_TEST((rate.reserve(100, now) == now + 100ms));
    BOOST_TEST((rate.reserve(50, now) == now + 200ms));
    rate.give_back(100); // A transfer that was cancelled.
    BOOST_TEST((rate.reserve(100, now) == now + 150ms));
}

BOOST_AUTO_TEST_CASE(a_stall_is_not_made_up_for)
{
    transfer_rate rate(1'000'000);
    const clock::time_point start{1000h};
    rate.reserve(100'000, start);
    const auto now = start + 1h;
    std::uint64_t at_once = 0;
    while (rate.reserve(1000, now) <= now)
        at_once += 1000;
    BOOST_TEST(at_once <= 101'000u);
    BOOST_TEST(at_once >= 99'000u);
}

BOOST_AUTO_TEST_CASE(pieces_are_small_enough_to_move_evenly)
{
    BOOST_TEST(transfer_rate(0).largest_piece() == std::numeric_limits<std::size_t>::max());
    BOOST_TEST(transfer_rate(1).largest_piece() == 1u);
    BOOST_TEST(transfer_rate(1000).largest_piece() == 100u);
}

BOOST_AUTO_TEST_CASE(no_limit)
{
    transfer_rate rate(0);
    const clock::time_point now{1000h};
    for (int i = 0; i < 1000; ++i)
        BOOST_TEST((rate.reserve(1'000'000'000, now) <= now));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(transfer_meters)

/// At most ten reports a second, and at least one while data moves; one at the end.
BOOST_DATA_TEST_CASE(number_of_reports, data::make({1, 10, 99, 100, 150, 1000}), milliseconds)
{
    avirt::transfer_options options;
    std::vector<progress> reports;
    options.on_progress = [&](const progress& p) { reports.push_back(p); };
    const clock::time_point start{1000h};
    transfer_meter meter(options, start);
    auto now = start;
    for (; now <= start + 10s; now += std::chrono::milliseconds(milliseconds))
        meter.count(7, now);
    for (std::size_t i = 1; i < reports.size(); ++i) {
        const auto between = reports[i].elapsed - reports[i - 1].elapsed;
        BOOST_TEST((between >= 100ms));
        BOOST_TEST((between <= 1s));
        BOOST_TEST(reports[i].bytes > reports[i - 1].bytes);
    }
    BOOST_TEST(reports.size() >= 9u);
    const auto before = reports.size();
    meter.finish(now);
    BOOST_REQUIRE(reports.size() == before + 1);
    BOOST_TEST((reports.back().elapsed == now - start));
    BOOST_TEST(reports.back().bytes == meter.so_far().bytes);
}

BOOST_AUTO_TEST_CASE(holes_are_counted_apart)
{
    transfer_meter meter{avirt::transfer_options()};
    meter.expect(120);
    meter.count(20);
    meter.count_hole(100);
    BOOST_TEST(meter.so_far().bytes == 20u);
    BOOST_TEST(meter.so_far().hole_bytes == 100u);
    BOOST_TEST(meter.so_far().total == 120u);
}

BOOST_AUTO_TEST_CASE(the_slower_limit_counts)
{
    avirt::transfer_options options;
    options.bytes_per_second = 5000;
    BOOST_TEST(transfer_meter(options).largest_piece() == 500u);
    options.limits = avirt::transfer_limits(0, 1000);
    BOOST_TEST(transfer_meter(options).largest_piece() == 100u);
    options.limits = avirt::transfer_limits(0, 10'000);
    BOOST_TEST(transfer_meter(options).largest_piece() == 500u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
