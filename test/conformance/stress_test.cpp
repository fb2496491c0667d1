// SPDX-License-Identifier: BSL-1.0
#include "files.hpp"
#include "harness.hpp"

#include <boost/test/unit_test.hpp>

#include <list>
#include <random>

namespace conformance {
namespace {

constexpr int thread_count = 8;

struct stress_fixture : loop_fixture
{
    std::list<helper_thread> helpers;

    void start(const std::function<void(unsigned)>& body)
    {
        for (unsigned i = 0; i < thread_count; ++i)
            helpers.emplace_back([body, i] { body(i); });
    }

    bool finished() const
    {
        for (const auto& helper : helpers)
            if (!helper.finished())
                return false;
        return true;
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(stress, stress_fixture)

BOOST_AUTO_TEST_CASE(eight_threads_add_update_and_remove)
{
    constexpr int rounds = 200;
    std::atomic<int> registered{0};
    std::atomic<int> freed{0};
    start([&](unsigned seed) {
        std::mt19937 random{seed};
        const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
        const auto ends = make_socket_pair();
        put(ends.peer.get(), "x");
        for (int i = 0; i < rounds; ++i) {
            auto& watch = add_watch(ends.ours.get(), below(4));
            auto& timer = add_timer(below(4) - 1);
            registered += 2;
            watch.on_free([&] { ++freed; });
            timer.on_free([&] { ++freed; });
            for (int n = below(4); n > 0; --n) {
                watch.update(below(4));
                timer.update(below(4) - 1);
            }
            if (watch.remove() != 0 || timer.remove() != 0)
                violation("remove failed");
        }
    });
    run_until([&] { return finished() && freed == registered; });
    BOOST_TEST(registered == thread_count * rounds * 2);
    settle();
    BOOST_TEST(freed == registered);
}

BOOST_AUTO_TEST_CASE(eight_threads_on_one_fd)
{
    constexpr int rounds = 100;
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    std::atomic<int> freed{0};
    auto& lasting = add_watch(ends.ours.get(), readable);
    start([&](unsigned seed) {
        std::mt19937 random{seed};
        for (int i = 0; i < rounds; ++i) {
            auto& watch = add_watch(ends.ours.get(), static_cast<int>(random() % 4));
            watch.on_free([&] { ++freed; });
            watch.update(static_cast<int>(random() % 4));
            if (watch.remove() != 0)
                violation("remove failed");
        }
    });
    run_until([&] { return finished() && freed == thread_count * rounds; });
    const int before = lasting.calls();
    run_until([&] { return lasting.calls() > before; });
    BOOST_TEST(lasting.all_events() == readable);
    lasting.remove();
    BOOST_TEST(!in_an_epoll_set(ends.ours.get()));
}

BOOST_AUTO_TEST_CASE(eight_threads_share_what_is_registered)
{
    constexpr int rounds = 300;
    const auto ends = make_socket_pair();
    put(ends.peer.get(), "x");
    std::vector<registration*> watches;
    std::vector<registration*> timers;
    std::atomic<int> removals{0};
    for (int i = 0; i < 64; ++i) {
        watches.push_back(&add_watch(ends.ours.get(), i % 4));
        timers.push_back(&add_timer(i % 3 - 1));
    }
    start([&](unsigned seed) {
        std::mt19937 random{seed};
        for (int i = 0; i < rounds; ++i) {
            auto& watch = *watches[random() % watches.size()];
            auto& timer = *timers[random() % timers.size()];
            watch.update(static_cast<int>(random() % 4));
            timer.update(static_cast<int>(random() % 3) - 1);
            // Exactly one of those that try to remove an item may succeed.
            if (random() % 8 == 0) {
                removals += watch.remove() == 0 ? 1 : 0;
                removals += timer.remove() == 0 ? 1 : 0;
            }
        }
        for (auto* watch : watches)
            removals += watch->remove() == 0 ? 1 : 0;
        for (auto* timer : timers)
            removals += timer->remove() == 0 ? 1 : 0;
    });
    run_until([&] { return finished(); });
    BOOST_TEST(removals == 128);
}

BOOST_AUTO_TEST_CASE(a_number_is_closed_and_reopened_beside_the_loop)
{
    start([&](unsigned) {
        for (int i = 0; i < 100; ++i) {
            auto ends = make_socket_pair();
            put(ends.peer.get(), "x");
            auto& watch = add_watch(ends.ours.get(), readable, [](registration& self) { self.update(0); });
            if (i % 2 == 0 && !eventually([&] { return watch.calls() > 0; }))
                violation("a watch on a reused number was not called");
            watch.remove();
        }
    });
    run_until([&] { return finished(); });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
