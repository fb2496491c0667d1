// SPDX-License-Identifier: BSL-1.0
#include "loops.hpp"

#include <libvirt/libvirt.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

namespace benchmark {
namespace {

using clock_type = std::chrono::steady_clock;

class epoll_loop final : public loop
{
public:
    epoll_loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC))
    {
        instance = this;
        if (virInitialize() < 0)
            throw std::runtime_error("virInitialize");
        virEventRegisterImpl(
            [](int fd, int events, virEventHandleCallback callback, void* opaque, virFreeCallback free) {
                return instance->add_handle({fd, events, callback, opaque, free});
            },
            [](int id, int events) { instance->update_handle(id, events); },
            [](int id) { return instance->remove_handle(id); },
            [](int interval, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
                return instance->add_timeout({interval, callback, opaque, free, {}});
            },
            [](int id, int interval) { instance->update_timeout(id, interval); },
            [](int id) { return instance->remove_timeout(id); });
    }

    ~epoll_loop() override
    {
        ::close(epoll_);
    }

    void run() override
    {
        while (!stopped_)
            turn();
    }

    void stop() override
    {
        stopped_ = true;
    }

    void tick(std::chrono::milliseconds interval, std::function<void()> f) override
    {
        tick_ = std::move(f);
        const auto call = [](int, void* self) { static_cast<epoll_loop*>(self)->tick_(); };
        virEventAddTimeout(static_cast<int>(interval.count()), call, this, nullptr);
    }

private:
    struct watch
    {
        int fd = -1;
        int events = 0;
        virEventHandleCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
    };

    struct timeout
    {
        int interval = -1;
        virEventTimeoutCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
        clock_type::time_point deadline{};
    };

    // Ids are indices and are reused, so that nothing here is slower than necessary.
    template <class T>
    static int put(std::vector<T>& table, std::vector<int>& unused, T item)
    {
        if (unused.empty()) {
            table.emplace_back();
            unused.push_back(static_cast<int>(table.size()));
        }
        const int id = unused.back();
        unused.pop_back();
        table[static_cast<std::size_t>(id - 1)] = item;
        return id;
    }

    watch& watch_of(int id)
    {
        return watches_[static_cast<std::size_t>(id - 1)];
    }

    timeout& timeout_of(int id)
    {
        return timeouts_[static_cast<std::size_t>(id - 1)];
    }

    void control(int operation, int id)
    {
        const auto& w = watch_of(id);
        epoll_event event{};
        event.events = static_cast<std::uint32_t>(
            ((w.events & VIR_EVENT_HANDLE_READABLE) ? EPOLLIN : 0u)
            | ((w.events & VIR_EVENT_HANDLE_WRITABLE) ? EPOLLOUT : 0u));
        event.data.u32 = static_cast<std::uint32_t>(id);
        ::epoll_ctl(epoll_, operation, w.fd, &event);
    }

    int add_handle(watch w)
    {
        const int id = put(watches_, unused_watches_, w);
        control(EPOLL_CTL_ADD, id);
        return id;
    }

    void update_handle(int id, int events)
    {
        if (std::exchange(watch_of(id).events, events) != events)
            control(EPOLL_CTL_MOD, id);
    }

    int remove_handle(int id)
    {
        control(EPOLL_CTL_DEL, id);
        const auto w = std::exchange(watch_of(id), {});
        frees_.emplace_back(w.free, w.opaque);
        unused_watches_.push_back(id);
        return 0;
    }

    int add_timeout(timeout t)
    {
        const int interval = std::exchange(t.interval, -1);
        const int id = put(timeouts_, unused_timeouts_, t);
        update_timeout(id, interval);
        return id;
    }

    void update_timeout(int id, int interval)
    {
        auto& t = timeout_of(id);
        if (t.interval == 0)
            std::erase(ready_, id);
        else if (t.interval > 0)
            deadlines_.erase({t.deadline, id});
        t.interval = interval;
        if (interval == 0)
            ready_.push_back(id);
        else if (interval > 0) {
            t.deadline = clock_type::now() + std::chrono::milliseconds(interval);
            deadlines_.emplace(t.deadline, id);
        }
    }

    int remove_timeout(int id)
    {
        update_timeout(id, -1);
        const auto t = std::exchange(timeout_of(id), {});
        frees_.emplace_back(t.free, t.opaque);
        unused_timeouts_.push_back(id);
        return 0;
    }

    int longest_wait() const
    {
        if (!ready_.empty() || !frees_.empty())
            return 0;
        if (deadlines_.empty())
            return -1;
        const auto left = deadlines_.begin()->first - clock_type::now();
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        return static_cast<int>(std::max<decltype(ms)>(ms, 0));
    }

    void turn()
    {
        std::array<epoll_event, 64> events;
        const int count =
            ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), longest_wait());
        for (int i = 0; i < count; ++i) {
            const auto& event = events[static_cast<std::size_t>(i)];
            const int id = static_cast<int>(event.data.u32);
            const auto w = watch_of(id);
            if (w.callback) {
                const int seen = ((event.events & EPOLLIN) ? VIR_EVENT_HANDLE_READABLE : 0)
                    | ((event.events & EPOLLOUT) ? VIR_EVENT_HANDLE_WRITABLE : 0)
                    | ((event.events & EPOLLERR) ? VIR_EVENT_HANDLE_ERROR : 0)
                    | ((event.events & EPOLLHUP) ? VIR_EVENT_HANDLE_HANGUP : 0);
                w.callback(id, w.fd, seen, w.opaque);
            }
        }
        serve_timeouts();
        serve_frees();
    }

    void serve_timeouts()
    {
        if (!deadlines_.empty()) {
            const auto now = clock_type::now();
            while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
                const int id = deadlines_.begin()->second;
                update_timeout(id, timeout_of(id).interval);
                const auto t = timeout_of(id);
                t.callback(id, t.opaque);
            }
        }
        serving_ = ready_;
        for (const int id : serving_) {
            const auto t = timeout_of(id);
            if (t.interval == 0)
                t.callback(id, t.opaque);
        }
    }

    void serve_frees()
    {
        freeing_.swap(frees_);
        for (const auto& [free, opaque] : freeing_) {
            if (free)
                free(opaque);
        }
        freeing_.clear();
    }

    static inline epoll_loop* instance = nullptr;

    const int epoll_;
    bool stopped_ = false;
    std::vector<watch> watches_;
    std::vector<int> unused_watches_;
    std::vector<timeout> timeouts_;
    std::vector<int> unused_timeouts_;
    std::vector<int> ready_;
    std::vector<int> serving_;
    std::set<std::pair<clock_type::time_point, int>> deadlines_;
    std::vector<std::pair<virFreeCallback, void*>> frees_;
    std::vector<std::pair<virFreeCallback, void*>> freeing_;
    std::function<void()> tick_;
};

} // namespace

std::unique_ptr<loop> make_raw_epoll_loop()
{
    return std::make_unique<epoll_loop>();
}

} // namespace benchmark
