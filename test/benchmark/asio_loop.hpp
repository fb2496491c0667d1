// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loops.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace benchmark {

/// A loop that runs an io_context. The derived class registers it with libvirt.
class asio_loop : public loop
{
public:
    void run() override
    {
        io_.run();
    }

    void stop() override
    {
        io_.stop();
    }

    void tick(std::chrono::milliseconds interval, std::function<void()> f) override
    {
        timer_.expires_after(interval);
        timer_.async_wait([this, interval, f = std::move(f)](const boost::system::error_code& ec) {
            if (ec)
                return;
            f();
            tick(interval, f);
        });
    }

protected:
    boost::asio::io_context io_{1};

private:
    boost::asio::steady_timer timer_{io_};
};

} // namespace benchmark
