// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/cancellation_type.hpp>
#include <boost/test/unit_test.hpp>

BOOST_TEST_DONT_PRINT_LOG_VALUE(boost::asio::cancellation_type)

namespace support {

inline constexpr boost::asio::cancellation_type every_cancellation_type[] = {
    boost::asio::cancellation_type::terminal,
    boost::asio::cancellation_type::partial,
    boost::asio::cancellation_type::total,
};

} // namespace support
