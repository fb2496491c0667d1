// SPDX-License-Identifier: BSL-1.0
#include "loop/deferred_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <stdexcept>
#include <vector>

namespace {

using avirt::detail::deferred_queue;

struct deferred_fixture
{
    struct item
    {
        deferred_fixture* self;
        int number;
        bool again = false;
        bool throws = false;
    };

    deferred_queue queue;
    std::vector<int> called;

    void push(item& i)
    {
        i.self = this;
        queue.reserve(1);
        queue.push({call, &i});
    }

    static void call(void* argument)
    {
        auto& i = *static_cast<item*>(argument);
        i.self->called.push_back(i.number);
        if (i.again)
            i.self->push(i);
        if (i.throws)
            throw std::runtime_error("expected");
    }
};

BOOST_FIXTURE_TEST_SUITE(deferred, deferred_fixture)

BOOST_AUTO_TEST_CASE(nothing_is_there)
{
    BOOST_TEST(queue.size() == 0u);
    BOOST_TEST(!queue.take());
}

BOOST_AUTO_TEST_CASE(they_are_called_once_in_their_order)
{
    item items[] = {{this, 1}, {this, 2}, {this, 3}};
    for (auto& i : items)
        push(i);
    BOOST_TEST(queue.size() == 3u);
    BOOST_TEST(queue.take());
    BOOST_TEST(queue.size() == 3u);
    queue.run();
    BOOST_TEST((called == std::vector{1, 2, 3}));
    BOOST_TEST(queue.size() == 0u);
    BOOST_TEST(!queue.take());
}

BOOST_AUTO_TEST_CASE(one_that_defers_itself_has_its_turn_later)
{
    item self{this, 1, true};
    push(self);
    for (int turn = 1; turn <= 3; ++turn) {
        BOOST_TEST(queue.take());
        queue.run();
        BOOST_TEST(called.size() == static_cast<std::size_t>(turn));
        BOOST_TEST(queue.size() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(an_exception_loses_none_and_repeats_none)
{
    item items[] = {{this, 1}, {this, 2, false, true}, {this, 3}};
    item late{this, 4};
    for (auto& i : items)
        push(i);
    BOOST_TEST(queue.take());
    BOOST_CHECK_THROW(queue.run(), std::runtime_error);
    BOOST_TEST(queue.size() == 1u);
    push(late);
    BOOST_TEST(queue.size() == 2u);
    while (queue.take())
        queue.run();
    BOOST_TEST((called == std::vector{1, 2, 3, 4}));
    BOOST_TEST(queue.size() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
