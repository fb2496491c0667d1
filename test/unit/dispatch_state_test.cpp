// SPDX-License-Identifier: BSL-1.0
#include "loop/dispatch_state.hpp"

#include <boost/test/unit_test.hpp>

#include <ostream>

namespace avirt::detail {

std::ostream& operator<<(std::ostream& out, dispatch_state::phase p)
{
    return out << "phase " << static_cast<int>(p);
}

std::ostream& operator<<(std::ostream& out, dispatch_state::action a)
{
    return out << "action " << static_cast<int>(a);
}

} // namespace avirt::detail

namespace {

using avirt::detail::dispatch_state;
using phase = dispatch_state::phase;
using action = dispatch_state::action;
using trigger = dispatch_state::trigger;
using remainder = dispatch_state::remainder;

constexpr bool no_deferred = false;
constexpr bool has_deferred = true;

/// A state that was led to a phase by its transitions.
dispatch_state in(phase p)
{
    dispatch_state s;
    const auto dispatch_with_rest = [&](remainder left) {
        s.bind();
        s.begin(trigger::post);
        s.end(left);
    };
    switch (p) {
    case phase::unbound:
        break;
    case phase::unbound_dispatching:
        s.begin_unbound();
        break;
    case phase::idle:
        dispatch_with_rest(remainder::nothing);
        break;
    case phase::posted:
        s.bind();
        break;
    case phase::awaiting:
        dispatch_with_rest(remainder::registrations);
        break;
    case phase::signalled:
        dispatch_with_rest(remainder::registrations);
        s.request(no_deferred);
        break;
    case phase::dispatching:
        s.bind();
        s.begin(trigger::post);
        break;
    case phase::replaced:
        s.begin_unbound();
        s.bind();
        break;
    }
    BOOST_REQUIRE_EQUAL(s.current(), p);
    return s;
}

constexpr phase all[] = {phase::unbound,  phase::unbound_dispatching, phase::idle,        phase::posted,
                         phase::awaiting, phase::signalled,           phase::dispatching, phase::replaced};

void check_request(phase from, bool deferred, action expected, phase to)
{
    auto s = in(from);
    BOOST_TEST_INFO("request in " << from);
    BOOST_TEST(s.request(deferred) == expected);
    BOOST_TEST_INFO("request in " << from);
    BOOST_TEST(s.current() == to);
}

} // namespace

BOOST_AUTO_TEST_SUITE(dispatch_state_)

BOOST_AUTO_TEST_CASE(a_request_wakes_the_loop_as_it_needs)
{
    check_request(phase::unbound, no_deferred, action::none, phase::unbound);
    check_request(phase::unbound, has_deferred, action::run_deferred, phase::unbound);
    for (const bool deferred : {no_deferred, has_deferred}) {
        check_request(phase::idle, deferred, action::post, phase::posted);
        check_request(phase::awaiting, deferred, action::signal, phase::signalled);
    }
}

BOOST_AUTO_TEST_CASE(a_request_does_nothing_if_a_dispatch_comes_anyway)
{
    for (const auto p : {phase::posted, phase::signalled})
        check_request(p, has_deferred, action::none, p);
    for (const auto p : {phase::unbound_dispatching, phase::dispatching, phase::replaced})
        check_request(p, has_deferred, action::none, p);
}

BOOST_AUTO_TEST_CASE(a_bound_loop_dispatches_once_in_any_case)
{
    dispatch_state s;
    BOOST_TEST(s.bind() == action::post);
    BOOST_TEST(s.current() == phase::posted);
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_unbound_leaves_deferred_calls_to_a_worker)
{
    for (const auto p : {phase::idle, phase::posted, phase::awaiting, phase::signalled}) {
        auto without = in(p);
        BOOST_TEST(without.unbind(no_deferred) == action::none);
        BOOST_TEST(without.current() == phase::unbound);
        auto with = in(p);
        BOOST_TEST(with.unbind(has_deferred) == action::run_deferred);
        BOOST_TEST(with.current() == phase::unbound);
    }
}

BOOST_AUTO_TEST_CASE(only_the_dispatch_that_is_scheduled_begins)
{
    for (const auto p : all) {
        auto by_post = in(p);
        BOOST_TEST_INFO("post in " << p);
        BOOST_TEST(by_post.begin(trigger::post) == (p == phase::posted));
        BOOST_TEST(by_post.current() == (p == phase::posted ? phase::dispatching : p));

        const bool is_awaiting = p == phase::awaiting || p == phase::signalled;
        auto by_readiness = in(p);
        BOOST_TEST_INFO("readiness in " << p);
        BOOST_TEST(by_readiness.begin(trigger::readiness) == is_awaiting);
        BOOST_TEST(by_readiness.current() == (is_awaiting ? phase::dispatching : p));

        auto without_loop = in(p);
        BOOST_TEST_INFO("unbound in " << p);
        BOOST_TEST(without_loop.begin_unbound() == (p == phase::unbound));
        BOOST_TEST(without_loop.current() == (p == phase::unbound ? phase::unbound_dispatching : p));
    }
}

BOOST_AUTO_TEST_CASE(what_is_left_decides_how_the_next_dispatch_comes)
{
    auto with_work = in(phase::dispatching);
    BOOST_TEST(with_work.end(remainder::work) == action::post);
    BOOST_TEST(with_work.current() == phase::posted);

    auto with_registrations = in(phase::dispatching);
    BOOST_TEST(with_registrations.end(remainder::registrations) == action::await);
    BOOST_TEST(with_registrations.current() == phase::awaiting);

    auto with_nothing = in(phase::dispatching);
    BOOST_TEST(with_nothing.end(remainder::nothing) == action::report_idle);
    BOOST_TEST(with_nothing.current() == phase::idle);
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_unbound_while_it_dispatches_ends_first)
{
    auto s = in(phase::dispatching);
    BOOST_TEST(s.unbind(has_deferred) == action::none);
    BOOST_TEST(s.current() == phase::unbound_dispatching);
    BOOST_TEST(s.end(remainder::work) == action::run_deferred);
    BOOST_TEST(s.current() == phase::unbound);
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_replaced_while_it_dispatches_hands_over_when_it_ends)
{
    for (const auto left : {remainder::work, remainder::registrations, remainder::nothing}) {
        auto s = in(phase::dispatching);
        s.unbind(no_deferred);
        BOOST_TEST(s.bind() == action::none);
        BOOST_TEST(s.current() == phase::replaced);
        BOOST_TEST(!s.begin(trigger::post));
        BOOST_TEST(s.end(left) == action::post);
        BOOST_TEST(s.begin(trigger::post));
    }
}

BOOST_AUTO_TEST_CASE(deferred_calls_without_a_loop_go_on_until_none_is_left)
{
    auto s = in(phase::unbound_dispatching);
    BOOST_TEST(s.end(remainder::work) == action::run_deferred);
    BOOST_TEST(s.begin_unbound());
    BOOST_TEST(s.end(remainder::nothing) == action::none);
    BOOST_TEST(s.current() == phase::unbound);
}

BOOST_AUTO_TEST_CASE(what_could_not_be_scheduled_is_requested_again)
{
    auto posted = in(phase::posted);
    BOOST_TEST(posted.fail(trigger::post));
    BOOST_TEST(posted.request(no_deferred) == action::post);

    for (const auto p : {phase::awaiting, phase::signalled}) {
        auto awaiting = in(p);
        BOOST_TEST(awaiting.fail(trigger::readiness));
        BOOST_TEST(awaiting.request(no_deferred) == action::post);
    }
}

BOOST_AUTO_TEST_CASE(a_failure_that_was_overtaken_changes_nothing)
{
    for (const auto p : all) {
        auto s = in(p);
        BOOST_TEST_CONTEXT("in " << p)
        {
            if (p != phase::posted)
                BOOST_TEST(!s.fail(trigger::post));
            if (p != phase::awaiting && p != phase::signalled)
                BOOST_TEST(!s.fail(trigger::readiness));
        }
        BOOST_TEST(s.current() == p);
    }
}

BOOST_AUTO_TEST_CASE(a_forked_child_awaits_nothing_of_its_parents)
{
    for (const auto p : {phase::awaiting, phase::signalled}) {
        auto s = in(p);
        s.fork(false);
        BOOST_TEST(s.current() == phase::idle);
        BOOST_TEST(s.request(no_deferred) == action::post);
    }
    for (const auto p : {phase::unbound, phase::idle, phase::posted}) {
        auto s = in(p);
        s.fork(false);
        BOOST_TEST(s.current() == p);
    }
}

BOOST_AUTO_TEST_CASE(a_forked_child_has_the_dispatch_of_the_thread_that_forked)
{
    for (const auto p : {phase::unbound_dispatching, phase::dispatching, phase::replaced}) {
        auto by_forking_thread = in(p);
        by_forking_thread.fork(true);
        BOOST_TEST(by_forking_thread.current() == p);

        auto by_another_thread = in(p);
        by_another_thread.fork(false);
        BOOST_TEST(
            by_another_thread.current() == (p == phase::unbound_dispatching ? phase::unbound : phase::idle));
    }
}

BOOST_AUTO_TEST_SUITE_END()
