// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <memory>

namespace conformance {

/// Runs the event loop under test. Either driver_avirt.cpp or driver_libvirt.cpp is linked.
///
/// The loop runs only inside run_until(), so that a case can prepare several things that become due together,
/// however many threads run the loop.
class driver
{
public:
    driver();
    ~driver();
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;

    /// Runs the loop until `done`, which is called on this thread, returns true. Rethrows an exception that
    /// leaves the loop; throws std::runtime_error when a generous deadline has passed.
    void run_until(const std::function<bool()>& done);

    /// Makes the loop call f, as a handler that does not belong to any watch or timeout of the case.
    void post(std::function<void()> f);

    /// Whether the loop comes to rest: if nothing is due, it must stop running handlers of its own, and
    /// sleep.
    bool comes_to_rest();

    /// Whether avirt's event loop counts nothing as registered or pending; always true for libvirt's loop.
    bool is_idle() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

/// Whether avirt's loop is under test, as opposed to libvirt's default implementation.
bool is_avirt() noexcept;

/// The number of threads that run the loop.
int loop_threads() noexcept;

} // namespace conformance
