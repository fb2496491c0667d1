// SPDX-License-Identifier: BSL-1.0
#include "host/report_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <variant>

namespace {

using avirt::domain_changed;
using avirt::host_connected;
using avirt::host_disconnected;
using avirt::detail::report_queue;

domain_changed change(int event)
{
    domain_changed r;
    r.event = event;
    return r;
}

BOOST_AUTO_TEST_SUITE(report_queue_)

BOOST_AUTO_TEST_CASE(reports_come_out_in_order)
{
    report_queue queue(2);
    queue.push(host_connected());
    queue.push(change(1));
    BOOST_TEST(std::holds_alternative<host_connected>(queue.pop()));
    BOOST_TEST(std::get<domain_changed>(queue.pop()).event == 1);
    BOOST_TEST(queue.empty());
    BOOST_TEST(!queue.take_overflow());
    BOOST_TEST(!queue.needs_snapshot());
}

BOOST_AUTO_TEST_CASE(an_overflow_drops_everything_until_it_is_reported)
{
    report_queue queue(2);
    queue.push(host_connected());
    queue.push(change(1));
    BOOST_TEST(queue.push(change(2)).size() == 2u);
    BOOST_TEST(queue.empty());
    queue.push(host_connected());
    BOOST_TEST(queue.empty());
    BOOST_TEST(!queue.needs_snapshot());
    BOOST_TEST(queue.take_overflow());
    BOOST_TEST(!queue.take_overflow());
    BOOST_TEST(queue.needs_snapshot());
}

BOOST_AUTO_TEST_CASE(changes_before_the_next_snapshot_are_not_queued)
{
    report_queue queue(1);
    queue.push(change(1));
    queue.push(change(2));
    queue.take_overflow();
    queue.push(change(3));
    BOOST_TEST(queue.empty());
    queue.push(host_disconnected());
    BOOST_TEST(std::holds_alternative<host_disconnected>(queue.pop()));
    queue.begin_snapshot();
    BOOST_TEST(!queue.needs_snapshot());
    queue.push(change(4));
    BOOST_TEST(std::get<domain_changed>(queue.pop()).event == 4);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
