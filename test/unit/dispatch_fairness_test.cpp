// SPDX-License-Identifier: BSL-1.0
#include "loop/dispatch_fairness.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <string>

namespace {

using avirt::detail::dispatch_fairness;

struct fairness_fixture
{
    dispatch_fairness fairness;
    const dispatch_fairness::time_point start = std::chrono::steady_clock::now();

    /// Rounds of a dispatch in which something is always due. @p ready tells of each round whether a look at
    /// the files would find one: '1' or '0'. Returns what each round did: found files, looked in vain, or did
    /// not look.
    std::string dispatch(const std::string& ready)
    {
        std::string result;
        fairness.begin_dispatch(start);
        for (std::size_t i = 0; i < ready.size() && fairness.has_round(start); ++i) {
            const bool has_found = fairness.looks_at_files() && ready[i] == '1';
            result += has_found ? 'f' : fairness.looks_at_files() ? 'v' : '-';
            fairness.end_round(has_found);
        }
        return result;
    }
};

BOOST_FIXTURE_TEST_SUITE(dispatch_fairness_, fairness_fixture)

BOOST_AUTO_TEST_CASE(rounds_are_limited)
{
    for (int dispatch = 0; dispatch < 2; ++dispatch) {
        int rounds = 0;
        for (fairness.begin_dispatch(start); fairness.has_round(start); fairness.end_round(true))
            ++rounds;
        BOOST_TEST(rounds == dispatch_fairness::max_rounds);
    }
}

BOOST_AUTO_TEST_CASE(no_round_begins_after_the_time)
{
    fairness.begin_dispatch(start);
    BOOST_TEST(fairness.has_round(start));
    BOOST_TEST(fairness.has_round(start + dispatch_fairness::longest_dispatch - std::chrono::nanoseconds(1)));
    BOOST_TEST(!fairness.has_round(start + dispatch_fairness::longest_dispatch));
}

BOOST_AUTO_TEST_CASE(without_files_every_other_round_looks)
{
    BOOST_TEST(dispatch("000000") == "v-v-v-");
}

BOOST_AUTO_TEST_CASE(files_that_are_ready_again_are_seen_by_every_round)
{
    for (int i = 0; i < 20; ++i)
        BOOST_TEST(dispatch("11111") == "fffff");
}

BOOST_AUTO_TEST_CASE(second_looks_that_find_nothing_become_rare)
{
    for (int i = 0; i < 4; ++i)
        BOOST_TEST(dispatch("10") == "fv");
    int second_looks = 0;
    for (int i = 0; i < 80; ++i)
        second_looks += dispatch("10") == "fv" ? 1 : 0;
    BOOST_TEST(second_looks == 10);
}

BOOST_AUTO_TEST_CASE(a_second_look_that_finds_something_makes_them_frequent_again)
{
    for (int i = 0; i < 8; ++i)
        dispatch("10");
    BOOST_TEST(dispatch("11") == "ff");
    for (int i = 0; i < 4; ++i)
        BOOST_TEST(dispatch("10") == "fv");
    BOOST_TEST(dispatch("10") == "f-");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
