// SPDX-License-Identifier: BSL-1.0
#include "asio_loop.hpp"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <unistd.h>

#include <mutex>
#include <stdexcept>
#include <unordered_map>

namespace benchmark {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using descriptor = asio::posix::stream_descriptor;

class adapter final : public asio_loop
{
public:
    adapter()
    {
        instance = this;
        if (virInitialize() < 0)
            throw std::runtime_error("virInitialize");
        virEventRegisterImpl(
            [](int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free) {
                return instance->add_handle(fd, events, callback, opaque, free);
            },
            [](int id, int events) { instance->update_handle(id, events); },
            [](int id) { return instance->remove_handle(id); },
            [](int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
                return instance->add_timeout(interval, callback, opaque, free);
            },
            [](int id, int interval) { instance->update_timeout(id, interval); },
            [](int id) { return instance->remove_timeout(id); });
    }

private:
    struct watch
    {
        watch(asio::io_context& io, int number) : file(io, ::dup(number)), fd(number) {}

        descriptor file;
        const int fd;
        int id = 0;
        int events = 0;
        bool waits_to_read = false, waits_to_write = false;
        bool removed = false;
        virEventHandleCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
    };

    struct timeout
    {
        explicit timeout(asio::io_context& io) : timer(io) {}

        asio::steady_timer timer;
        int id = 0;
        int interval = -1;
        unsigned generation = 0;
        bool removed = false;
        virEventTimeoutCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
    };

    using watch_ptr = std::shared_ptr<watch>;
    using timeout_ptr = std::shared_ptr<timeout>;

    template <class Map>
    auto find(const Map& map, int id)
    {
        const std::lock_guard guard(mutex_);
        const auto it = map.find(id);
        return it == map.end() ? nullptr : it->second;
    }

    int add_handle(int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free)
    {
        auto w = std::make_shared<watch>(io_, fd);
        w->events = events;
        w->callback = callback;
        w->opaque = opaque;
        w->free = free;
        {
            const std::lock_guard guard(mutex_);
            w->id = ++last_id_;
            watches_.emplace(w->id, w);
        }
        asio::dispatch(io_, [this, w] { wait(w); });
        return w->id;
    }

    void update_handle(int id, int events)
    {
        const auto w = find(watches_, id);
        if (!w)
            return;
        asio::dispatch(io_, [this, w, events] {
            w->events = events;
            wait(w);
        });
    }

    int remove_handle(int id)
    {
        const auto w = find(watches_, id);
        if (!w)
            return -1;
        {
            const std::lock_guard guard(mutex_);
            watches_.erase(id);
            w->removed = true;
        }
        asio::post(io_, [w] {
            w->file.close();
            if (w->free)
                w->free(w->opaque);
        });
        return 0;
    }

    void wait(const watch_ptr& w)
    {
        if (w->removed)
            return;
        if ((w->events & VIR_EVENT_HANDLE_READABLE) && !std::exchange(w->waits_to_read, true)) {
            w->file.async_wait(descriptor::wait_read, [this, w](const error_code& ec) {
                w->waits_to_read = false;
                ready(w, ec);
            });
        }
        if ((w->events & VIR_EVENT_HANDLE_WRITABLE) && !std::exchange(w->waits_to_write, true)) {
            w->file.async_wait(descriptor::wait_write, [this, w](const error_code& ec) {
                w->waits_to_write = false;
                ready(w, ec);
            });
        }
    }

    void ready(const watch_ptr& w, const error_code& ec)
    {
        if (ec || w->removed)
            return;
        pollfd p{w->fd, 0, 0};
        p.events = static_cast<short>(
            ((w->events & VIR_EVENT_HANDLE_READABLE) ? POLLIN : 0)
            | ((w->events & VIR_EVENT_HANDLE_WRITABLE) ? POLLOUT : 0));
        if (::poll(&p, 1, 0) == 1) {
            const int events = ((p.revents & POLLIN) ? VIR_EVENT_HANDLE_READABLE : 0)
                | ((p.revents & POLLOUT) ? VIR_EVENT_HANDLE_WRITABLE : 0)
                | ((p.revents & POLLERR) ? VIR_EVENT_HANDLE_ERROR : 0)
                | ((p.revents & POLLHUP) ? VIR_EVENT_HANDLE_HANGUP : 0);
            w->callback(w->id, w->fd, events, w->opaque);
        }
        wait(w);
    }

    int add_timeout(int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free)
    {
        auto t = std::make_shared<timeout>(io_);
        t->callback = callback;
        t->opaque = opaque;
        t->free = free;
        {
            const std::lock_guard guard(mutex_);
            t->id = ++last_id_;
            timeouts_.emplace(t->id, t);
        }
        asio::dispatch(io_, [this, t, interval] { set(t, interval); });
        return t->id;
    }

    void update_timeout(int id, int interval)
    {
        if (const auto t = find(timeouts_, id))
            asio::dispatch(io_, [this, t, interval] { set(t, interval); });
    }

    int remove_timeout(int id)
    {
        const auto t = find(timeouts_, id);
        if (!t)
            return -1;
        {
            const std::lock_guard guard(mutex_);
            timeouts_.erase(id);
            t->removed = true;
        }
        asio::post(io_, [t] {
            t->timer.cancel();
            if (t->free)
                t->free(t->opaque);
        });
        return 0;
    }

    void set(const timeout_ptr& t, int interval)
    {
        t->interval = interval;
        ++t->generation;
        t->timer.cancel();
        wait(t);
    }

    void wait(const timeout_ptr& t)
    {
        if (t->removed || t->interval < 0)
            return;
        t->timer.expires_after(std::chrono::milliseconds(t->interval));
        t->timer.async_wait([this, t, generation = t->generation](const error_code& ec) {
            if (ec || t->removed || t->generation != generation)
                return;
            t->callback(t->id, t->opaque);
            if (t->generation == generation)
                wait(t);
        });
    }

    static inline adapter* instance = nullptr;

    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    std::mutex mutex_;
    int last_id_ = 0;
    std::unordered_map<int, watch_ptr> watches_;
    std::unordered_map<int, timeout_ptr> timeouts_;
};

} // namespace

std::unique_ptr<loop> make_obvious_adapter()
{
    return std::make_unique<adapter>();
}

} // namespace benchmark
