// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/test/unit_test.hpp>

#include <string>

namespace conformance {

using boost::unit_test::description; // of a suite

/// Of a case that libvirt's default loop breaks: says in what, and why avirt is as the case states. There it
/// has to fail.
class differs final : public boost::unit_test::decorator::base
{
public:
    explicit differs(std::string why) : why_{std::move(why)} {}

private:
    void apply(boost::unit_test::test_unit& unit) override;
    boost::unit_test::decorator::base_ptr clone() const override;

    std::string why_;
};

/// Of a case that cannot be put to libvirt's default loop, with the reason.
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
