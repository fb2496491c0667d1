// SPDX-License-Identifier: BSL-1.0
#include "driver.hpp"
#include "harness.hpp"

#include <libvirt/libvirt.h>

#include <stdexcept>

namespace conformance {
namespace {

int heartbeats = 0;

// libvirt's loop sleeps until a file is ready or a timeout is due. This timeout wakes it regularly, so that
// run_until() can check its condition.
void heartbeat(int, void*)
{
    ++heartbeats;
}

void turn()
{
    if (virEventRunDefaultImpl() < 0)
        throw std::runtime_error{"virEventRunDefaultImpl failed"};
}

struct posted
{
    std::function<void()> call;
    int timeout = 0;
};

void call_posted(int, void* opaque)
{
    auto& item = *static_cast<posted*>(opaque);
    virEventRemoveTimeout(item.timeout);
    item.call();
}

void free_posted(void* opaque)
{
    delete static_cast<posted*>(opaque);
}

void register_once()
{
    static const bool registered = [] {
        return virInitialize() == 0 && virEventRegisterDefaultImpl() == 0
            && virEventAddTimeout(2, heartbeat, nullptr, nullptr) > 0;
    }();
    if (!registered)
        throw std::runtime_error{"libvirt's default event loop cannot be registered"};
}

} // namespace

struct driver::state
{
};

driver::driver()
{
    register_once();
}

driver::~driver() = default;

void driver::run_until(const std::function<bool()>& done)
{
    const deadline limit;
    while (!done()) {
        limit.check();
        turn();
    }
}

void driver::post(std::function<void()> f)
{
    auto item = std::make_unique<posted>(posted{std::move(f)});
    item->timeout = virEventAddTimeout(0, call_posted, item.get(), free_posted);
    item.release();
}

// A loop at rest is woken by the heartbeat alone.
bool driver::comes_to_rest()
{
    int rest = 0;
    for (int round = 0; round < 2000 && rest < 5; ++round) {
        const int before = heartbeats;
        turn();
        rest = heartbeats > before ? rest + 1 : 0;
    }
    return rest == 5;
}

bool driver::is_idle() const
{
    return true;
}

bool is_avirt() noexcept
{
    return false;
}

int loop_threads() noexcept
{
    return 1;
}

} // namespace conformance
