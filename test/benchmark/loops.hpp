// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace benchmark {

/// An event loop that is registered with libvirt. The workloads use it through libvirt's functions.
class loop
{
public:
    virtual ~loop() = default;
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    /// Returns some time after a callback of the loop has called stop().
    virtual void run() = 0;
    virtual void stop() = 0;

    /// Calls f at the given interval, in the way that an application on this loop would.
    virtual void tick(std::chrono::milliseconds interval, std::function<void()> f) = 0;

protected:
    loop() = default;
};

std::unique_ptr<loop> make_avirt_loop();

/// libvirt's default event loop.
std::unique_ptr<loop> make_default_loop();

/// The obvious adapter: an Asio descriptor for each of libvirt's watches, an Asio timer for each timeout.
std::unique_ptr<loop> make_obvious_adapter();

/// A loop that is as fast as possible: epoll without locks or other threads, serving libvirt alone.
std::unique_ptr<loop> make_raw_epoll_loop();

} // namespace benchmark
