// SPDX-License-Identifier: BSL-1.0
#include "loop/timeout_table.hpp"

#include <boost/test/unit_test.hpp>

#include <poll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <map>
#include <random>

namespace {

using avirt::detail::timeout_table;
using std::chrono::hours;
using std::chrono::milliseconds;
using time_point = timeout_table::clock::time_point;

std::vector<int> ready_ids(timeout_table& t)
{
    std::vector<timeout_table::ready> ready;
    t.collect_ready(ready);
    std::vector<int> ids;
    for (const auto& r : ready) {
        if (t.find_ready(r))
            ids.push_back(r.id);
    }
    return ids;
}

bool expires(const timeout_table& t, milliseconds within)
{
    pollfd timer{.fd = t.timer_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&timer, 1, static_cast<int>(within.count())) == 1;
}

bool is_armed(const timeout_table& t)
{
    itimerspec spec{};
    ::timerfd_gettime(t.timer_fd(), &spec);
    return spec.it_value.tv_sec != 0 || spec.it_value.tv_nsec != 0;
}

BOOST_AUTO_TEST_SUITE(timeout_table_)

BOOST_AUTO_TEST_CASE(zero_is_ready_and_has_no_deadline)
{
    timeout_table t;
    const int id = t.add({.interval = 0});
    BOOST_TEST(t.has_ready());
    BOOST_TEST(!t.has_deadlines());
    BOOST_TEST(ready_ids(t) == std::vector{id});
}

BOOST_AUTO_TEST_CASE(every_negative_interval_is_disabled)
{
    timeout_table t;
    for (int interval : {-1, -2, std::numeric_limits<int>::min()})
        t.add({.interval = interval});
    BOOST_TEST(t.size() == 3u);
    BOOST_TEST(!t.has_ready());
    BOOST_TEST(!t.has_deadlines());
    BOOST_TEST(!t.next_due(time_point::max()));
}

BOOST_AUTO_TEST_CASE(due_from_its_deadline_on_and_not_before)
{
    timeout_table t;
    const auto before = timeout_table::clock::now();
    t.add({.interval = 1000});
    const auto after = timeout_table::clock::now();
    BOOST_TEST(!t.next_due(before + milliseconds(999)));
    BOOST_TEST(t.next_due(after + milliseconds(1000)));
}

BOOST_AUTO_TEST_CASE(a_served_timeout_starts_anew)
{
    timeout_table t;
    t.add({.interval = 1000});
    const auto later = timeout_table::clock::now() + hours(1);
    BOOST_TEST(t.next_due(later));
    BOOST_TEST(!t.next_due(later));
    BOOST_TEST(!t.next_due(later + milliseconds(999)));
    BOOST_TEST(t.next_due(later + milliseconds(1000)));
}

BOOST_AUTO_TEST_CASE(a_ready_record_dies_with_its_timeout)
{
    timeout_table t;
    const int removed = t.add({.interval = 0});
    const int disabled = t.add({.interval = 0});
    const int stays = t.add({.interval = 0});
    std::vector<timeout_table::ready> ready;
    t.collect_ready(ready);
    t.remove(removed);
    t.update(disabled, -1);
    t.add({.interval = 0}); // Takes the slot of the removed one.
    std::vector<int> found;
    for (const auto& r : ready) {
        if (t.find_ready(r))
            found.push_back(r.id);
    }
    BOOST_TEST(found == std::vector{stays});
}

BOOST_AUTO_TEST_CASE(remove_returns_what_was_added_once)
{
    timeout_table t;
    int opaque = 0;
    const int id = t.add({.interval = 5, .opaque = &opaque});
    BOOST_TEST(t.remove(id + 1).id == 0);
    const auto removed = t.remove(id);
    BOOST_TEST(removed.id == id);
    BOOST_TEST(removed.opaque == &opaque);
    BOOST_TEST(t.remove(id).id == 0);
    t.update(id, 0);
    BOOST_TEST(!t.has_ready());
}

BOOST_AUTO_TEST_CASE(it_is_known_who_updates)
{
    using from = timeout_table::update_from;
    timeout_table t;
    const int id = t.add({.interval = 1000});
    auto now = timeout_table::clock::now();
    const auto check_due_again = [&](unsigned in_a_row, bool by_calls) {
        now += milliseconds(2000);
        const auto* due = t.next_due(now);
        BOOST_REQUIRE(due);
        BOOST_TEST(due->in_a_row == in_a_row);
        BOOST_TEST(due->by_calls == by_calls);
    };
    check_due_again(1, false);
    t.update(id, 1000, from::its_callback);
    check_due_again(2, false);
    t.update(id, 1000, from::call);
    t.update(id, 1000, from::call);
    check_due_again(1, true);
    t.update(id, 1000, from::call);
    t.update(id, 1000, from::elsewhere);
    check_due_again(1, false);
    t.update(id, 1000, from::elsewhere);
    t.update(id, 1000, from::call);
    check_due_again(1, false);
}

BOOST_AUTO_TEST_CASE(the_timer_is_armed_for_the_earliest)
{
    timeout_table t;
    t.open();
    t.arm();
    BOOST_TEST(!is_armed(t));
    t.add({.interval = 3600 * 1000});
    t.arm();
    BOOST_TEST(is_armed(t));
    BOOST_TEST(!expires(t, milliseconds(0)));
    t.add({.interval = 1});
    t.arm();
    BOOST_TEST(expires(t, milliseconds(30000)));
}

BOOST_AUTO_TEST_CASE(the_timer_is_disarmed_where_no_deadline_is_left)
{
    timeout_table t;
    t.open();
    const int id = t.add({.interval = 3600 * 1000});
    t.arm();
    BOOST_TEST(is_armed(t));
    t.remove(id);
    t.disarm_if_unused();
    BOOST_TEST(!is_armed(t));
}

BOOST_AUTO_TEST_CASE(the_timer_is_armed_anew_after_it_has_expired)
{
    timeout_table t;
    t.open();
    t.add({.interval = 1});
    for (int i = 0; i < 3; ++i) {
        t.arm();
        BOOST_TEST(expires(t, milliseconds(30000)));
        BOOST_TEST(t.next_due(timeout_table::clock::now()));
    }
}

// The model knows each timeout's interval, and between which two moments its deadline was set.
struct model_timeout
{
    int interval;
    time_point earliest;
    time_point latest;
};

class model
{
public:
    void schedule(int id, int interval, time_point before, time_point after)
    {
        const auto length = milliseconds(interval);
        timeouts_[id] = {interval, before + length, after + length};
    }

    std::map<int, model_timeout>& all()
    {
        return timeouts_;
    }

    std::vector<int> ready() const
    {
        std::vector<int> ids;
        for (const auto& [id, t] : timeouts_) {
            if (t.interval == 0)
                ids.push_back(id);
        }
        return ids;
    }

private:
    std::map<int, model_timeout> timeouts_;
};

void check_due(timeout_table& t, model& m, time_point now)
{
    time_point last = time_point::min();
    while (const auto* due = t.next_due(now)) {
        auto& expected = m.all().at(due->id);
        BOOST_REQUIRE(expected.interval > 0);
        BOOST_REQUIRE(expected.earliest <= now);
        BOOST_REQUIRE(expected.latest >= last);
        last = expected.earliest;
        expected.earliest = expected.latest = now + milliseconds(expected.interval);
        BOOST_REQUIRE(due->deadline == expected.latest);
    }
    for (const auto& [id, expected] : m.all())
        BOOST_REQUIRE_MESSAGE(expected.interval <= 0 || expected.latest > now, "not served: " << id);
}

BOOST_AUTO_TEST_CASE(agrees_with_a_naive_model)
{
    timeout_table t;
    model m;
    std::mt19937 random(7);
    auto now = timeout_table::clock::now() + hours(1);
    const auto interval = [&] {
        const auto kind = random() % 8;
        return kind == 0 ? 0 : kind == 1 ? -1 : static_cast<int>(random() % 100000) + 1;
    };
    for (int step = 0; step < 5000; ++step) {
        const auto action = random() % 10;
        const auto before = timeout_table::clock::now();
        if (m.all().size() < 3 || action < 4) {
            const int i = interval();
            const int id = t.add({.interval = i});
            m.schedule(id, i, before, timeout_table::clock::now());
        }
        else {
            const auto any = std::next(m.all().begin(), static_cast<long>(random() % m.all().size()));
            if (action < 7) {
                const int i = interval();
                t.update(any->first, i);
                m.schedule(any->first, i, before, timeout_table::clock::now());
            }
            else if (action < 9) {
                BOOST_REQUIRE(t.remove(any->first).id == any->first);
                m.all().erase(any);
            }
            else {
                now += milliseconds(random() % 20000);
                check_due(t, m, now);
            }
        }
        auto ready = ready_ids(t);
        std::ranges::sort(ready);
        BOOST_REQUIRE(ready == m.ready());
        BOOST_REQUIRE(t.size() == m.all().size());
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
