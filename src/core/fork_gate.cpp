// SPDX-License-Identifier: BSL-1.0
#include "core/fork_gate.hpp"

#include <sched.h>

#include <atomic>
#include <chrono>

namespace avirt::detail {
namespace {

/// The number of threads inside. The highest bit is set while the gate is closed.
std::atomic<unsigned> inside{0};
constexpr unsigned closed = 1u << 31;

std::atomic<unsigned> forks{0};

thread_local unsigned depth = 0;

void add_this_thread() noexcept
{
    auto now = inside.load(std::memory_order_relaxed);
    for (;;) {
        if (now & closed) {
            inside.wait(now);
            now = inside.load(std::memory_order_relaxed);
        }
        else if (inside.compare_exchange_weak(now, now + 1, std::memory_order_acquire)) {
            return;
        }
    }
}

} // namespace

void fork_gate::enter() noexcept
{
    if (depth++ == 0)
        add_this_thread();
}

void fork_gate::leave() noexcept
{
    if (--depth == 0)
        inside.fetch_sub(1, std::memory_order_release);
}

void fork_gate::close() noexcept
{
    // The wait is limited: libvirt forks with the lock of its log held, for which a thread inside may be
    // waiting. The limit does no harm then, because libvirt's child executes another program.
    constexpr std::chrono::seconds time_limit{1};
    if (depth != 0)
        inside.fetch_sub(1, std::memory_order_release);
    for (auto now = inside.load(std::memory_order_relaxed);;) {
        if (now & closed) { // Another thread is forking.
            inside.wait(now);
            now = inside.load(std::memory_order_relaxed);
        }
        else if (inside.compare_exchange_weak(now, now | closed, std::memory_order_relaxed)) {
            break;
        }
    }
    const auto end = std::chrono::steady_clock::now() + time_limit;
    while (inside.load(std::memory_order_acquire) != closed && std::chrono::steady_clock::now() < end)
        ::sched_yield();
}

void fork_gate::open_in_parent() noexcept
{
    inside.fetch_and(~closed, std::memory_order_release);
    if (depth != 0)
        inside.fetch_add(1, std::memory_order_acquire);
    inside.notify_all();
}

void fork_gate::open_in_child() noexcept
{
    inside.store(depth != 0 ? 1 : 0, std::memory_order_release);
    ++forks;
}

unsigned fork_gate::generation() noexcept
{
    return forks;
}

} // namespace avirt::detail
