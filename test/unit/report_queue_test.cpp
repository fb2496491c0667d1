// SPDX-License-Identifier: BSL-1.0
#include "host/report_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using avirt::domain_changed;
using avirt::domain_status;
using avirt::host_connected;
using avirt::host_disconnected;
using avirt::detail::host_record;
using avirt::detail::report_queue;

domain_status in_state(const std::string& name, int state)
{
    return {{}, name, "uuid of " + name, state, 0};
}

std::vector<domain_status> one(const std::string& name, int state)
{
    std::vector<domain_status> domains;
    domains.push_back(in_state(name, state));
    return domains;
}

/// A host with a single receiver.
struct queue_fixture
{
    host_record record;
    report_queue queue{3};

    void connect(int state)
    {
        queue.push(record.connected(one("vm", state)), record);
    }

    void disconnect()
    {
        queue.push(record.disconnected({}), record);
    }

    void change(int state, const std::string& name = "vm")
    {
        queue.push(record.changed({in_state(name, state), false, VIR_DOMAIN_EVENT_STARTED, 0}), record);
    }

    template <class Report>
    Report pop()
    {
        BOOST_REQUIRE(!queue.empty());
        auto report = avirt::detail::copy_of(*queue.pop(), {});
        BOOST_REQUIRE(std::holds_alternative<Report>(report));
        return std::get<Report>(std::move(report));
    }

    /// Is told of an overflow, and that the host is away.
    void fall_behind_while_away()
    {
        connect(VIR_DOMAIN_RUNNING);
        pop<host_connected>();
        for (int i = 0; i < 4; ++i)
            disconnect();
        be_told_of_overflow();
        pop<host_disconnected>();
        queue.start_over(record);
    }

    /// Receives the error of an overflow, and starts the next receive.
    void be_told_of_overflow()
    {
        BOOST_TEST(queue.empty());
        BOOST_TEST(queue.take_overflow());
        BOOST_TEST(!queue.take_overflow());
        BOOST_TEST(queue.empty());
        queue.start_over(record);
    }
};

BOOST_FIXTURE_TEST_SUITE(report_queue_, queue_fixture)

BOOST_AUTO_TEST_CASE(reports_come_out_in_order)
{
    connect(VIR_DOMAIN_RUNNING);
    change(VIR_DOMAIN_PAUSED);
    disconnect();
    BOOST_TEST(pop<host_connected>().domains.at(0).state == int{VIR_DOMAIN_RUNNING});
    BOOST_TEST(pop<domain_changed>().status.state == int{VIR_DOMAIN_PAUSED});
    pop<host_disconnected>();
    BOOST_TEST(queue.empty());
    BOOST_TEST(!queue.take_overflow());
    queue.start_over(record);
    BOOST_TEST(queue.empty());
}

BOOST_AUTO_TEST_CASE(a_receiver_that_falls_behind_starts_over_with_what_it_has_missed)
{
    connect(VIR_DOMAIN_RUNNING);
    pop<host_connected>();
    change(VIR_DOMAIN_PAUSED);
    change(VIR_DOMAIN_SHUTOFF);
    change(VIR_DOMAIN_RUNNING, "other");
    change(VIR_DOMAIN_PAUSED);
    change(VIR_DOMAIN_PAUSED, "other");
    be_told_of_overflow();
    const auto present = pop<host_connected>();
    BOOST_TEST(present.domains.size() == 2u);
    BOOST_REQUIRE(present.missed.size() == 2u);
    const auto& other = present.missed[0];
    BOOST_TEST(other.status.name == "other");
    BOOST_TEST(other.status.state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(other.event == -1);
    const auto& vm = present.missed[1];
    BOOST_TEST(vm.status.state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(vm.event == int{VIR_DOMAIN_EVENT_SUSPENDED});
    change(VIR_DOMAIN_RUNNING);
    BOOST_TEST(pop<domain_changed>().status.state == int{VIR_DOMAIN_RUNNING});
}

BOOST_AUTO_TEST_CASE(a_state_that_is_again_as_it_was_told_has_not_been_missed)
{
    connect(VIR_DOMAIN_RUNNING);
    pop<host_connected>();
    for (int i = 0; i < 2; ++i) {
        change(VIR_DOMAIN_PAUSED);
        change(VIR_DOMAIN_RUNNING);
    }
    be_told_of_overflow();
    BOOST_TEST(pop<host_connected>().missed.empty());
}

BOOST_AUTO_TEST_CASE(a_receiver_that_has_received_nothing_has_missed_nothing)
{
    connect(VIR_DOMAIN_RUNNING);
    for (const int state : {VIR_DOMAIN_PAUSED, VIR_DOMAIN_RUNNING, VIR_DOMAIN_PAUSED})
        change(state);
    be_told_of_overflow();
    const auto present = pop<host_connected>();
    BOOST_TEST(present.domains.at(0).state == int{VIR_DOMAIN_PAUSED});
    BOOST_TEST(present.missed.empty());
}

BOOST_AUTO_TEST_CASE(a_receiver_that_falls_behind_while_the_host_is_away)
{
    fall_behind_while_away();
    BOOST_TEST(queue.empty()); // It has been told that the host is away.
    disconnect();
    pop<host_disconnected>();
    connect(VIR_DOMAIN_SHUTOFF);
    const auto back = pop<host_connected>();
    BOOST_REQUIRE(back.missed.size() == 1u);
    BOOST_TEST(back.missed[0].event == int{VIR_DOMAIN_EVENT_STOPPED});
    change(VIR_DOMAIN_RUNNING);
    pop<domain_changed>();
}

BOOST_AUTO_TEST_CASE(a_queue_that_was_full_when_the_host_came_back_has_its_limit)
{
    fall_behind_while_away();
    for (int i = 0; i < 3; ++i)
        disconnect();
    connect(VIR_DOMAIN_RUNNING);
    for (int i = 0; i < 10; ++i)
        change(i % 2 == 0 ? VIR_DOMAIN_PAUSED : VIR_DOMAIN_RUNNING);
    be_told_of_overflow();
    pop<host_connected>();
}

BOOST_AUTO_TEST_CASE(domains_that_come_and_go_do_not_add_up)
{
    connect(VIR_DOMAIN_RUNNING);
    pop<host_connected>();
    for (int i = 0; i < 100; ++i) {
        const auto name = "transient" + std::to_string(i);
        change(VIR_DOMAIN_RUNNING, name);
        queue.push(
            record.changed({in_state(name, VIR_DOMAIN_SHUTOFF), true, VIR_DOMAIN_EVENT_STOPPED, 0}), record);
    }
    change(VIR_DOMAIN_PAUSED);
    BOOST_TEST(queue.missed_domains() == 1u);
    be_told_of_overflow();
    BOOST_TEST(pop<host_connected>().missed.size() == 1u);
}

BOOST_AUTO_TEST_CASE(few_snapshots_are_queued_however_great_the_capacity)
{
    queue = report_queue(1000);
    for (int i = 0; i < 100; ++i)
        connect(VIR_DOMAIN_RUNNING);
    be_told_of_overflow();
    pop<host_connected>();
    BOOST_TEST(queue.empty());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
