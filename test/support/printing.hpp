// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

// What an error code is compared with: the code itself is printed, and says enough.
BOOST_TEST_DONT_PRINT_LOG_VALUE(avirt::error)
BOOST_TEST_DONT_PRINT_LOG_VALUE(avirt::condition)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::asio::error::basic_errors)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::asio::error::misc_errors)
BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::system::errc::errc_t)
