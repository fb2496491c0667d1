// SPDX-License-Identifier: BSL-1.0
#include "event/event_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>

namespace {

using avirt::detail::erased_event;
using avirt::detail::event_queue;

struct numbered_event final : erased_event
{
    explicit numbered_event(int n) : number(n) {}

    int number;
};

void push(event_queue& queue, int number)
{
    queue.push(std::make_unique<numbered_event>(number));
}

int number_of(const event_queue::item& item)
{
    return item.event ? static_cast<const numbered_event&>(*item.event).number : -1;
}

BOOST_AUTO_TEST_SUITE(event_queue_)

BOOST_AUTO_TEST_CASE(events_come_out_in_order)
{
    event_queue queue(3);
    for (int i = 0; i < 3; ++i)
        push(queue, i);
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(number_of(queue.pop()) == i);
    BOOST_TEST(queue.empty());
    BOOST_TEST(!queue.take_overflow());
    BOOST_TEST(queue.take_lost() == 0u);
}

BOOST_AUTO_TEST_CASE(an_overflow_drops_the_oldest_and_is_reported_once)
{
    event_queue queue(2);
    push(queue, 0);
    push(queue, 1);
    BOOST_TEST(number_of(queue.push(std::make_unique<numbered_event>(2))) == 0);
    push(queue, 3);
    BOOST_TEST(queue.take_overflow());
    BOOST_TEST(!queue.take_overflow());
    BOOST_TEST(queue.take_lost() == 2u);
    BOOST_TEST(queue.take_lost() == 0u);
    BOOST_TEST(number_of(queue.pop()) == 2);
    BOOST_TEST(number_of(queue.pop()) == 3);
}

BOOST_AUTO_TEST_CASE(a_capacity_of_nothing_keeps_one_event)
{
    event_queue queue(0);
    push(queue, 0);
    BOOST_TEST(!queue.take_overflow());
    push(queue, 1);
    BOOST_TEST(queue.take_overflow());
    BOOST_TEST(number_of(queue.pop()) == 1);
}

BOOST_AUTO_TEST_CASE(an_event_without_memory_counts_as_lost)
{
    event_queue queue(2);
    queue.push(nullptr);
    BOOST_TEST(queue.empty());
    BOOST_TEST(queue.take_overflow());
    BOOST_TEST(queue.take_lost() == 1u);
}

BOOST_AUTO_TEST_CASE(an_end_keeps_its_place_and_is_queued_once)
{
    event_queue queue(4);
    push(queue, 0);
    queue.push_end(avirt::error::not_open);
    queue.push_end(avirt::error::events_lost);
    push(queue, 1);
    BOOST_TEST(number_of(queue.pop()) == 0);
    BOOST_TEST((queue.pop().end_reason.code == avirt::error::not_open));
    BOOST_TEST(number_of(queue.pop()) == 1);
    BOOST_TEST(queue.empty());
}

BOOST_AUTO_TEST_CASE(a_dropped_end_is_no_lost_event)
{
    event_queue queue(1);
    queue.push_end(avirt::error::not_open);
    push(queue, 0);
    BOOST_TEST(queue.take_overflow());
    BOOST_TEST(queue.take_lost() == 0u);
}

BOOST_AUTO_TEST_CASE(clearing_forgets_the_overflow_but_not_the_number)
{
    event_queue queue(1);
    push(queue, 0);
    push(queue, 1);
    queue.clear();
    BOOST_TEST(queue.empty());
    BOOST_TEST(!queue.take_overflow());
    BOOST_TEST(queue.take_lost() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
