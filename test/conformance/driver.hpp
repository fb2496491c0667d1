// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <memory>

namespace conformance {

/// Runs the event loop under test: one of driver_avirt.cpp and driver_libvirt.cpp is linked.
///
/// The loop runs only inside run_until(), so a case can prepare several things that then become due together,
/// with any number of threads.
class driver
{
public:
    driver();
    ~driver();
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;

    /// Runs the loop until `done`, which is called on this thread, returns true. Rethrows what leaves the
    /// loop; throws std::runtime_error when a generous deadline has passed.
    void run_until(const std::function<bool()>& done);

    /// Has f called by the loop as a handler that libvirt knows nothing of.
    void post(std::function<void()> f);

    /// Whether the loop comes to rest: with nothing due it must stop running handlers of its own, and sleep.
    bool comes_to_rest();

    /// avirt: whether the event loop counts nothing as registered or pending.
    bool is_idle() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

/// Whether avirt is under test; otherwise it is libvirt's default implementation.
bool is_avirt() noexcept;

/// How many threads run the loop.
int loop_threads() noexcept;

} // namespace conformance
