// SPDX-License-Identifier: BSL-1.0
#include "host/host_record.hpp"
#include "host/published_report.hpp"
#include "host/retry_delay.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using avirt::domain_changed;
using avirt::domain_status;
using avirt::host_connected;
using avirt::host_disconnected;
using avirt::detail::host_record;
using avirt::detail::report_ptr;
using avirt::detail::retry_delay;

using domain_states = std::map<std::string, int>;

std::vector<domain_status> list(const domain_states& states)
{
    std::vector<domain_status> domains;
    for (const auto& [name, state] : states)
        domains.push_back({{}, name, "uuid of " + name, state, 0});
    return domains;
}

domain_states states_of(const report_ptr& report)
{
    domain_states states;
    for (const auto& d : std::get<host_connected>(report->report).domains)
        states[d.name] = d.state;
    return states;
}

/// The events of what was missed, by name; "gone" is added to the names of those that are.
std::map<std::string, int> missed(const report_ptr& report)
{
    std::map<std::string, int> events;
    for (const auto& m : std::get<host_connected>(report->report).missed) {
        events[m.status.name + (m.is_gone ? " gone" : "")] = m.event;
        BOOST_TEST(m.detail == -1);
    }
    return events;
}

domain_changed change(const std::string& name, int state, bool is_gone = false)
{
    return {{{}, name, "uuid of " + name, state, 0}, is_gone, VIR_DOMAIN_EVENT_STARTED, 0};
}

BOOST_AUTO_TEST_SUITE(host_record_)

BOOST_AUTO_TEST_CASE(nothing_is_known_before_the_first_report)
{
    host_record record;
    BOOST_TEST(!record.present());
    record.disconnected({{}, {.message = "no route"}, 5ms});
    const auto away = record.present();
    BOOST_TEST(std::get<host_disconnected>(away->report).details.message == "no route");
    record.connected(list({{"vm", VIR_DOMAIN_RUNNING}}));
    BOOST_TEST((states_of(record.present()) == domain_states{{"vm", VIR_DOMAIN_RUNNING}}));
    BOOST_TEST(missed(record.present()).empty());
    record.clear();
    BOOST_TEST(!record.present());
}

BOOST_AUTO_TEST_CASE(the_present_state_follows_the_changes)
{
    host_record record;
    record.connected(list({{"a", VIR_DOMAIN_RUNNING}, {"b", VIR_DOMAIN_SHUTOFF}}));
    const auto changed = record.changed(change("a", VIR_DOMAIN_PAUSED));
    BOOST_TEST(changed->previous.at(0).state.value() == int{VIR_DOMAIN_RUNNING});
    record.changed(change("b", VIR_DOMAIN_NOSTATE, true));
    const auto defined = record.changed(change("c", VIR_DOMAIN_SHUTOFF));
    BOOST_TEST(!defined->previous.at(0).state);
    const domain_states now{{"a", VIR_DOMAIN_PAUSED}, {"c", VIR_DOMAIN_SHUTOFF}};
    BOOST_TEST((states_of(record.present()) == now));
}

BOOST_AUTO_TEST_CASE(what_was_missed_while_the_host_was_away)
{
    host_record record;
    BOOST_TEST(missed(record.connected(list({
                          {"crashed", VIR_DOMAIN_RUNNING},
                          {"ended", VIR_DOMAIN_PAUSED},
                          {"gone", VIR_DOMAIN_RUNNING},
                          {"paused", VIR_DOMAIN_RUNNING},
                          {"resumed", VIR_DOMAIN_PAUSED},
                          {"same", VIR_DOMAIN_RUNNING},
                          {"started", VIR_DOMAIN_SHUTOFF},
                          {"started paused", VIR_DOMAIN_SHUTOFF},
                          {"undefined", VIR_DOMAIN_SHUTOFF},
                      })))
                   .empty());
    record.disconnected({});
    const auto back = record.connected(list({
        {"crashed", VIR_DOMAIN_CRASHED},
        {"defined", VIR_DOMAIN_SHUTOFF},
        {"ended", VIR_DOMAIN_SHUTOFF},
        {"new", VIR_DOMAIN_RUNNING},
        {"paused", VIR_DOMAIN_PAUSED},
        {"resumed", VIR_DOMAIN_RUNNING},
        {"same", VIR_DOMAIN_RUNNING},
        {"started", VIR_DOMAIN_RUNNING},
        {"started paused", VIR_DOMAIN_PAUSED},
    }));
    const std::map<std::string, int> expected{
        {"crashed", VIR_DOMAIN_EVENT_CRASHED},
        {"defined", VIR_DOMAIN_EVENT_DEFINED},
        {"ended", VIR_DOMAIN_EVENT_STOPPED},
        {"gone gone", -1},
        {"new", -1},
        {"paused", VIR_DOMAIN_EVENT_SUSPENDED},
        {"resumed", VIR_DOMAIN_EVENT_RESUMED},
        {"started", VIR_DOMAIN_EVENT_STARTED},
        {"started paused", -1},
        {"undefined gone", VIR_DOMAIN_EVENT_UNDEFINED},
    };
    BOOST_TEST((missed(back) == expected));
    BOOST_TEST(back->previous.size() == expected.size());
    BOOST_TEST(missed(record.present()).empty()); // A new receiver has missed nothing.
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(retry_delay_)

BOOST_AUTO_TEST_CASE(delays_double_and_are_random)
{
    std::set<retry_delay::milliseconds> firsts;
    for (int i = 0; i < 100; ++i) {
        retry_delay delay(100ms, 1s);
        for (const auto base : {100ms, 200ms, 400ms, 800ms}) {
            const auto next = delay.next();
            BOOST_TEST((next >= base && next < 2 * base && next <= 1s));
            if (base == 100ms)
                firsts.insert(next);
        }
        BOOST_TEST((delay.next() == 1s));
        delay.reset();
        BOOST_TEST((delay.next() < 200ms));
    }
    BOOST_TEST(firsts.size() > 10u);
}

BOOST_AUTO_TEST_CASE(senseless_delays)
{
    retry_delay none(0ms, 0ms);
    for (int i = 0; i < 3; ++i)
        BOOST_TEST((none.next() == 1ms));
    retry_delay reversed(50ms, 10ms);
    BOOST_TEST((reversed.next() == 50ms));
}

BOOST_AUTO_TEST_CASE(a_receiver_is_told_what_is_left_of_the_delay)
{
    const avirt::detail::published_report published{host_disconnected{{}, {}, 1000ms}};
    const auto left_after = [&](std::chrono::milliseconds time) {
        const auto copy = copy_of(published, published.made_at + time);
        return std::get<host_disconnected>(copy).retry_in;
    };
    BOOST_TEST((left_after(0ms) == 1000ms));
    BOOST_TEST((left_after(400ms) == 600ms));
    BOOST_TEST((left_after(2000ms) == 0ms));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
