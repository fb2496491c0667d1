// SPDX-License-Identifier: BSL-1.0
#include "core/loop_interface.hpp"

#include <atomic>

namespace avirt::detail {
namespace {

/// Without an event loop nothing has to be kept running, and libvirt opens no connection that avirt could
/// interrupt.
class no_loop final : public loop_interface
{
    void work_changed() noexcept override {}

    bool call_after(std::chrono::milliseconds, void (*)()) noexcept override
    {
        return false;
    }

    void release(void (*free)(void*), void* object, const std::function<void()>&) noexcept override
    {
        free(object);
    }
};

no_loop without;
std::atomic<loop_interface*> current{&without};

} // namespace

loop_interface& loop_interface::instance() noexcept
{
    return *current.load(std::memory_order_acquire);
}

void loop_interface::set(loop_interface& implementation) noexcept
{
    current.store(&implementation, std::memory_order_release);
}

} // namespace avirt::detail
