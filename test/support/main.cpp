// SPDX-License-Identifier: BSL-1.0

// The one main() of all tests: with a shared Boost.Test it is cheap to compile, and compiled once.
#define BOOST_TEST_MODULE avirt
#include <boost/test/unit_test.hpp>
