// SPDX-License-Identifier: BSL-1.0
#include "decorators.hpp"

#include "driver.hpp"

#include <boost/make_shared.hpp>
#include <boost/test/results_collector.hpp>

#include <stdexcept>

namespace conformance {
namespace {

namespace ut = boost::unit_test;

// More than any case has assertions: the decorator does not say which of them fail.
constexpr ut::counter_t tolerated_failures = 1000;

struct must_have_failed : ut::test_unit_fixture
{
    void setup() override {}
    void teardown() override
    {
        const auto id = ut::framework::current_test_unit().p_id;
        // A failed assertion would be tolerated, so this has to be an exception.
        if (ut::results_collector.results(id).p_assertions_failed == 0)
            throw std::logic_error{
                "the case is said to differ on libvirt's default loop, but it holds there"};
    }
};

} // namespace

void differs::apply(ut::test_unit& unit)
{
    unit.p_description.value = why_;
    if (is_avirt())
        return;
    unit.increase_exp_fail(tolerated_failures);
    unit.p_fixtures.value.push_back(boost::make_shared<must_have_failed>());
}

ut::decorator::base_ptr differs::clone() const
{
    return boost::make_shared<differs>(*this);
}

void not_asked::apply(ut::test_unit& unit)
{
    unit.p_description.value = why_;
    unit.add_precondition([](ut::test_unit_id) { return boost::test_tools::assertion_result{is_avirt()}; });
}

ut::decorator::base_ptr not_asked::clone() const
{
    return boost::make_shared<not_asked>(*this);
}

} // namespace conformance
