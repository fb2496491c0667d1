// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/event_loop.hpp>
#include <support/eventually.hpp>

#include <boost/asio/io_context.hpp>

#include <functional>

namespace support {

/// Runs the context until the condition holds; throws if it does not hold in time.
void run_until(boost::asio::io_context& io, const std::function<bool()>& done);

/// Runs the context until it is out of work; throws if that takes too long.
void run_to_end(boost::asio::io_context& io);

/// A context with libvirt's event loop on it. At the end of a test, run() has to return, with nothing left
/// anywhere.
class loop_fixture
{
public:
    explicit loop_fixture(avirt::event_loop_options options = {});
    ~loop_fixture();
    loop_fixture(const loop_fixture&) = delete;
    loop_fixture& operator=(const loop_fixture&) = delete;

    void run_until(const std::function<bool()>& done)
    {
        support::run_until(io, done);
    }

    boost::asio::io_context io;
    avirt::event_loop loop;
};

} // namespace support
