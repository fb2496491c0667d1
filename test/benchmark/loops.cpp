// SPDX-License-Identifier: BSL-1.0
#include "loops.hpp"

#include "asio_loop.hpp"

#include <avirt/event_loop.hpp>

#include <libvirt/libvirt.h>

#include <atomic>
#include <stdexcept>

namespace benchmark {
namespace {

class avirt_loop final : public asio_loop
{
    avirt::event_loop loop_{io_};
};

class default_loop final : public loop
{
public:
    default_loop()
    {
        if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
            throw std::runtime_error("libvirt's event loop cannot be registered");
    }

    void run() override
    {
        while (!stopped_)
            virEventRunDefaultImpl();
    }

    void stop() override
    {
        stopped_ = true;
    }

    void tick(std::chrono::milliseconds interval, std::function<void()> f) override
    {
        tick_ = std::move(f);
        const auto call = [](int, void* self) { static_cast<default_loop*>(self)->tick_(); };
        virEventAddTimeout(static_cast<int>(interval.count()), call, this, nullptr);
    }

private:
    std::atomic<bool> stopped_{false};
    std::function<void()> tick_;
};

} // namespace

std::unique_ptr<loop> make_avirt_loop()
{
    return std::make_unique<avirt_loop>();
}

std::unique_ptr<loop> make_default_loop()
{
    return std::make_unique<default_loop>();
}

} // namespace benchmark
