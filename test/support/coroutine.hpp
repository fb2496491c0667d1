// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <support/loop_fixture.hpp>

#include <boost/asio/co_spawn.hpp>

#include <exception>
#include <utility>

namespace support {

/// Runs a coroutine on the fixture's context to its end, and rethrows its exception.
template <class Coroutine>
void run_coroutine(loop_fixture& f, Coroutine coroutine)
{
    bool is_over = false;
    std::exception_ptr thrown;
    boost::asio::co_spawn(f.io, std::move(coroutine), [&](std::exception_ptr e) {
        thrown = e;
        is_over = true;
    });
    f.run_until([&] { return is_over; });
    if (thrown)
        std::rethrow_exception(thrown);
}

} // namespace support
