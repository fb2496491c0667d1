// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <libvirt/libvirt.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

namespace conformance {

/// A handle or timeout that is registered with libvirt and counts its calls. It must outlive its free
/// callback.
class probe
{
public:
    explicit probe(std::function<void(probe&)> act = {}) : act_{std::move(act)} {}
    probe(const probe&) = delete;
    probe& operator=(const probe&) = delete;

    int watch(int fd, int events)
    {
        return id_ = virEventAddHandle(fd, events, on_handle, this, on_free);
    }
    int timer(int interval)
    {
        is_timer_ = true;
        return id_ = virEventAddTimeout(interval, on_timeout, this, on_free);
    }
    void update(int value)
    {
        is_timer_ ? virEventUpdateTimeout(id_, value) : virEventUpdateHandle(id_, value);
    }
    int remove()
    {
        return is_timer_ ? virEventRemoveTimeout(id_) : virEventRemoveHandle(id_);
    }
    void when_freed(std::function<void()> f)
    {
        when_freed_ = std::move(f);
    }

    int id() const noexcept
    {
        return id_;
    }
    int calls() const noexcept
    {
        return calls_;
    }
    int frees() const noexcept
    {
        return frees_;
    }
    int events() const noexcept
    {
        return events_;
    }

private:
    void dispatch(int id, int events)
    {
        id_ = id; // add may not have returned yet
        events_ = events;
        ++calls_;
        if (act_)
            act_(*this);
    }
    static void on_handle(int id, int, int events, void* opaque)
    {
        static_cast<probe*>(opaque)->dispatch(id, events);
    }
    static void on_timeout(int id, void* opaque)
    {
        static_cast<probe*>(opaque)->dispatch(id, 0);
    }
    static void on_free(void* opaque)
    {
        auto& self = *static_cast<probe*>(opaque);
        if (self.when_freed_)
            self.when_freed_();
        ++self.frees_;
    }

    std::function<void(probe&)> act_;
    std::function<void()> when_freed_;
    bool is_timer_ = false;
    std::atomic<int> id_{0};
    std::atomic<int> calls_{0};
    std::atomic<int> frees_{0};
    std::atomic<int> events_{0};
};

/// Runs the context until all of the probes have been called.
template <class... Probes>
void run_until_called(boost::asio::io_context& io, const Probes&... probes)
{
    while (((probes.calls() == 0) || ...))
        io.run_one();
}

} // namespace conformance
