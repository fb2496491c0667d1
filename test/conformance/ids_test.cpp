// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <climits>
#include <vector>

namespace conformance {
namespace {

// Fewer with libvirt's default implementation, which searches removed entries one by one until the loop has
// run.
int registrations() noexcept
{
    return is_avirt() ? 1 << 20 : 1 << 10;
}

void unused_handle(int, int, int, void*) {}
void unused_timeout(int, void*) {}

bool all_different_and_positive(std::vector<int> ids)
{
    std::ranges::sort(ids);
    return ids.front() > 0 && std::ranges::adjacent_find(ids) == ids.end();
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    ids, loop_fixture, *description("Ids are positive and are not reused; what was removed stays removed."))

BOOST_AUTO_TEST_CASE(timeout_ids_are_positive_and_not_reused)
{
    const auto& bystander = add_timer(-1);
    std::vector<int> ids{bystander.id()};
    for (int i = 0; i < registrations(); ++i) {
        ids.push_back(add_timeout(-1, unused_timeout, nullptr, nullptr));
        if (remove_timeout(ids.back()) != 0)
            BOOST_FAIL("a timeout could not be removed");
    }
    BOOST_TEST(all_different_and_positive(std::move(ids)));
}

BOOST_AUTO_TEST_CASE(watch_ids_are_positive_and_not_reused)
{
    const auto ends = make_pipe();
    const auto& bystander = add_watch(ends.reader.get(), readable);
    std::vector<int> ids{bystander.id()};
    for (int i = 0; i < std::min(registrations(), 1 << 14); ++i) {
        ids.push_back(
            add_handle(ends.writer.get(), i % 2 == 0 ? readable : 0, unused_handle, nullptr, nullptr));
        if (remove_handle(ids.back()) != 0)
            BOOST_FAIL("a watch could not be removed");
    }
    BOOST_TEST(all_different_and_positive(std::move(ids)));
}

BOOST_AUTO_TEST_CASE(unknown_ids_are_refused_or_ignored)
{
    for (const int id : {0, -1, INT_MIN, INT_MAX, INT_MAX - 1}) {
        update_handle(id, readable);
        update_timeout(id, 0);
        BOOST_TEST(remove_handle(id) == -1);
        BOOST_TEST(remove_timeout(id) == -1);
    }
    settle();
}

BOOST_AUTO_TEST_CASE(a_second_removal_is_refused)
{
    const auto ends = make_pipe();
    auto& watch = add_watch(ends.reader.get(), readable);
    auto& timer = add_timer(-1);
    BOOST_TEST(watch.remove() == 0);
    BOOST_TEST(remove_handle(watch.id()) == -1);
    BOOST_TEST(timer.remove() == 0);
    BOOST_TEST(remove_timeout(timer.id()) == -1);
    run_until([&] { return watch.frees() == 1 && timer.frees() == 1; });
    BOOST_TEST(remove_handle(watch.id()) == -1);
    BOOST_TEST(remove_timeout(timer.id()) == -1);
    settle();
}

BOOST_AUTO_TEST_CASE(an_update_does_not_bring_back_what_was_removed)
{
    const auto ends = make_pipe();
    put(ends.writer.get(), "x");
    auto& watch = add_watch(ends.reader.get(), 0);
    auto& timer = add_timer(-1);
    watch.remove();
    timer.remove();
    watch.update(readable);
    timer.update(0);
    settle();
    run_until([&] { return watch.frees() == 1 && timer.frees() == 1; });
    watch.update(readable);
    timer.update(0);
    settle();
    BOOST_TEST(watch.calls() == 0);
    BOOST_TEST(timer.calls() == 0);
}

// The sequence of calls in libvirt-glib's own test.
BOOST_AUTO_TEST_CASE(disabled_then_removed_then_updated_then_removed_again)
{
    const auto null = open_null();
    auto& watch = add_watch(null.get(), readable | writable);
    auto& timer = add_timer(10000);
    watch.update(0);
    timer.update(-1);
    BOOST_TEST(watch.remove() == 0);
    BOOST_TEST(timer.remove() == 0);
    watch.update(readable);
    timer.update(10000);
    BOOST_TEST(remove_handle(watch.id()) == -1);
    BOOST_TEST(remove_timeout(timer.id()) == -1);
    BOOST_TEST(watch.frees() == 0);
    BOOST_TEST(timer.frees() == 0);
    run_until([&] { return watch.frees() == 1 && timer.frees() == 1; });
    settle();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
