// SPDX-License-Identifier: BSL-1.0

// The main() of all tests. With a shared Boost.Test it is cheap to compile, and it is compiled once.
#define BOOST_TEST_MODULE avirt
#include <boost/test/unit_test.hpp>
