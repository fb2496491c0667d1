// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/test/unit_test.hpp>

#include <string>

namespace conformance {

using boost::unit_test::description; // of a suite

/// Marks a case that libvirt's default loop breaks, with the difference and the reason for avirt's behaviour.
/// On libvirt's loop the case has to fail.
class differs final : public boost::unit_test::decorator::base
{
public:
    explicit differs(std::string why) : why_{std::move(why)} {}

private:
    void apply(boost::unit_test::test_unit& unit) override;
    boost::unit_test::decorator::base_ptr clone() const override;

    std::string why_;
};

/// Marks a case that cannot be run on libvirt's default loop, with the reason.
class not_asked final : public boost::unit_test::decorator::base
{
public:
    explicit not_asked(std::string why) : why_{std::move(why)} {}

private:
    void apply(boost::unit_test::test_unit& unit) override;
    boost::unit_test::decorator::base_ptr clone() const override;

    std::string why_;
};

} // namespace conformance
