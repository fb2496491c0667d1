// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_state.hpp>
#include <avirt/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

#include <ostream>

// The values that an error code is compared with. The code itself is printed, which is enough.
BOOST_TEST_DONT_PRINT_LOG_VALUE(avirt::error)
BOOST_TEST_DONT_PRINT_LOG_VALUE(avirt::condition)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::asio::error::basic_errors)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::asio::error::misc_errors)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::system::errc::errc_t)

namespace avirt {

inline std::ostream& boost_test_print_type(std::ostream& out, console_state state)
{
    return out << to_string(state);
}

} // namespace avirt
