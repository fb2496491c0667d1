// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace benchmark {

/// An event loop, registered with libvirt: the workloads know it by libvirt's functions.
class loop
{
public:
    virtual ~loop() = default;
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    /// Returns some time after stop() was called by something that the loop called.
    virtual void run() = 0;
    virtual void stop() = 0;

    /// Calls f every so often, in the way that an application on this loop would.
    virtual void tick(std::chrono::milliseconds interval, std::function<void()> f) = 0;

protected:
    loop() = default;
};

std::unique_ptr<loop> make_avirt_loop();

/// libvirt's own.
std::unique_ptr<loop> make_default_loop();

/// What one writes first: a descriptor and a timer of Asio's for each watch and timeout of libvirt's.
std::unique_ptr<loop> make_obvious_adapter();

/// As fast as it gets: epoll, no lock, no other thread, nothing but libvirt on it.
std::unique_ptr<loop> make_raw_epoll_loop();

} // namespace benchmark
