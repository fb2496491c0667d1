// SPDX-License-Identifier: BSL-1.0
#include "loop/id_table.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <memory>
#include <random>
#include <vector>

namespace {

struct item
{
    int id = 0;
    int value = 0;
    std::shared_ptr<int> owned{};
};

using table = avirt::detail::id_table<item>;

BOOST_AUTO_TEST_SUITE(id_table)

BOOST_AUTO_TEST_CASE(ids_are_positive_and_counted_up)
{
    table t;
    for (int i = 1; i <= 100; ++i)
        BOOST_TEST(t[t.insert({.value = i})].id == i);
    BOOST_TEST(t.size() == 100u);
}

BOOST_AUTO_TEST_CASE(an_erased_id_does_not_come_back_soon)
{
    table t;
    for (int i = 1; i <= (1 << 20) + 1; ++i) {
        const auto slot = t.insert({});
        if (t[slot].id != i)
            BOOST_FAIL("id " << t[slot].id << " instead of " << i);
        t.erase(slot);
        if (t.find(i) != table::none)
            BOOST_FAIL("id " << i << " is found after it was erased");
    }
    BOOST_TEST(t.size() == 0u);
}

BOOST_AUTO_TEST_CASE(those_that_stay_are_found_while_others_come_and_go)
{
    table t;
    std::vector<int> lasting;
    for (int i = 0; i < 10; ++i)
        lasting.push_back(t[t.insert({})].id);
    int last = lasting.back();
    for (int i = 0; i < 10000; ++i) {
        const auto slot = t.insert({});
        if (t[slot].id <= last)
            BOOST_FAIL("id " << t[slot].id << " after " << last);
        last = t[slot].id;
        if (t.find(last) != slot)
            BOOST_FAIL("id " << last << " is not found");
        t.erase(slot);
    }
    for (const int id : lasting) {
        BOOST_REQUIRE(t.find(id) != table::none);
        BOOST_TEST(t[t.find(id)].id == id);
    }
}

BOOST_AUTO_TEST_CASE(unknown_ids_are_not_found)
{
    table t;
    t.insert({});
    for (int id : {0, -1, 2, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()})
        BOOST_TEST(t.find(id) == table::none);
}

BOOST_AUTO_TEST_CASE(what_was_erased_is_destroyed_at_once)
{
    table t;
    const auto owned = std::make_shared<int>(1);
    const auto slot = t.insert({.owned = owned});
    BOOST_TEST(owned.use_count() == 2);
    t.erase(slot);
    BOOST_TEST(owned.use_count() == 1);
    BOOST_TEST(t[slot].id == 0);
}

BOOST_AUTO_TEST_CASE(slots_stay_where_they_are_and_are_used_again)
{
    table t;
    const auto first = t.insert({.value = 1});
    const auto second = t.insert({.value = 2});
    const auto third = t.insert({.value = 3});
    t.erase(second);
    BOOST_TEST(t[first].value == 1);
    BOOST_TEST(t[third].value == 3);
    BOOST_TEST(t.insert({.value = 4}) == second);
    BOOST_TEST(t[second].value == 4);
}

BOOST_AUTO_TEST_CASE(agrees_with_a_map)
{
    table t;
    std::map<int, int> model;
    std::mt19937 random(20240501);
    for (int step = 0; step < 20000; ++step) {
        if (model.empty() || random() % 3 != 0) {
            const int value = static_cast<int>(random());
            const int id = t[t.insert({.value = value})].id;
            BOOST_REQUIRE(model.emplace(id, value).second);
        }
        else {
            const auto victim = std::next(model.begin(), static_cast<long>(random() % model.size()));
            t.erase(t.find(victim->first));
            model.erase(victim);
        }
        if (step % 500 == 0) {
            BOOST_REQUIRE(t.size() == model.size());
            for (const auto& [id, value] : model) {
                const auto slot = t.find(id);
                BOOST_REQUIRE(slot != table::none);
                BOOST_REQUIRE(t[slot].id == id);
                BOOST_REQUIRE(t[slot].value == value);
            }
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
