// SPDX-License-Identifier: BSL-1.0

// Writes one line for the result of each case, for docs/conformance.md (document.awk), to the file that
// AVIRT_CONFORMANCE_ROWS names. Without that variable nothing is written.
#include <boost/test/results_collector.hpp>
#include <boost/test/tree/global_fixture.hpp>
#include <boost/test/unit_test.hpp>

#include <libvirt/libvirt.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace {

namespace ut = boost::unit_test;

std::string name_of(ut::test_unit_id id)
{
    return ut::framework::get(id, ut::TUT_ANY).p_name;
}

class row_writer final : public ut::global_configuration
{
    void test_start(ut::counter_t, ut::test_unit_id) override
    {
        const char* const path = std::getenv(variable);
        if (!path)
            return;
        rows_.open(path);
        ::unsetenv(variable); // A child that runs this program again must not write rows.
        unsigned long version = 0;
        virGetVersion(&version, nullptr, nullptr);
        rows_ << "libvirt\t" << version / 1'000'000 << '.' << version / 1000 % 1000 << '\n';
    }

    void test_unit_start(const ut::test_unit& unit) override
    {
        if (unit.p_type == ut::TUT_SUITE && unit.p_parent_id != ut::INV_TEST_UNIT_ID)
            rows_ << "suite\t" << unit.p_name << '\t' << unit.p_description << '\n';
    }

    void test_unit_finish(const ut::test_unit& unit, unsigned long) override
    {
        const auto& result = ut::results_collector.results(unit.p_id);
        write(unit, !result.passed() ? "failed" : result.p_assertions_failed == 0 ? "holds" : "differs");
    }

    void test_unit_skipped(const ut::test_unit& unit, ut::const_string) override
    {
        write(unit, "not run");
    }

    void write(const ut::test_unit& unit, const char* result)
    {
        if (unit.p_type == ut::TUT_CASE)
            rows_ << "case\t" << name_of(unit.p_parent_id) << '\t' << unit.p_name << '\t' << result << '\t'
                  << unit.p_description << std::endl;
    }

    static constexpr const char* variable = "AVIRT_CONFORMANCE_ROWS";

    std::ofstream rows_;
};

row_writer writer;

} // namespace
