// SPDX-License-Identifier: BSL-1.0

// Compares event loops in one run: avirt's, libvirt's default one, the obvious adapter for Asio, and a loop
// of bare epoll.
//
//   loop_benchmark [ROUNDS [TEXT]]    TEXT: only the workloads whose names contain it
//
// Every measurement has a process of its own. The loops take turns, and the ratios are medians of pairs.

#include "apart.hpp"
#include "cost.hpp"
#include "loops.hpp"

#include <libvirt/libvirt.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace benchmark;
using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto time_per_measurement = 150ms;
constexpr int an_hour = 3'600'000;

double nanoseconds(clock_type::duration d)
{
    return std::chrono::duration<double, std::nano>(d).count();
}

/// Tells a workload when it is over.
class meter
{
public:
    /// The number of operations whose system calls or allocations are counted; 0: time is measured.
    static inline std::size_t counted = 0;

    /// Called after each operation.
    bool is_over()
    {
        ++operations_;
        return counted != 0 ? is_counted() : is_timed();
    }

    double per_operation() const
    {
        return counted != 0 ? static_cast<double>(allocations_) / static_cast<double>(counted)
                            : nanoseconds(end_ - start_) / static_cast<double>(operations_ - warm_up);
    }

private:
    static constexpr std::size_t warm_up = 64;

    bool is_timed()
    {
        if (operations_ == warm_up)
            start_ = clock_type::now();
        if (operations_ <= warm_up || operations_ % 16 != 0)
            return false;
        end_ = clock_type::now();
        return end_ - start_ >= time_per_measurement;
    }

    bool is_counted()
    {
        constexpr std::size_t warm = 2000; // After that many nothing grows any more.
        if (operations_ == warm) {
            mark();
            allocations_ = allocations();
        }
        if (operations_ != warm + counted)
            return false;
        allocations_ = allocations() - allocations_;
        mark();
        return true;
    }

    std::size_t operations_ = 0;
    std::size_t allocations_ = 0;
    clock_type::time_point start_, end_;
};

// Building blocks of the workloads
// ---------------------------------------------------------------------------

struct pipe_ends
{
    int reader, writer;

    pipe_ends()
    {
        int fds[2];
        if (::pipe(fds) != 0)
            throw std::runtime_error("pipe: the limit on open files is too low");
        reader = fds[0];
        writer = fds[1];
    }

    void put() const
    {
        if (::write(writer, "x", 1) != 1)
            throw std::runtime_error("write");
    }

    void take() const
    {
        char byte;
        if (::read(reader, &byte, 1) != 1)
            throw std::runtime_error("read");
    }
};

void no_watch(int, int, int, void*) {}
void no_timeout(int, void*) {}

void add_idle_timeouts(int count)
{
    for (int i = 0; i < count; ++i)
        virEventAddTimeout(an_hour + i, no_timeout, nullptr, nullptr);
}

void add_idle_watches(int count)
{
    for (int i = 0; i < count; ++i)
        virEventAddHandle(pipe_ends().reader, VIR_EVENT_HANDLE_READABLE, no_watch, nullptr, nullptr);
}

// The workloads
// ----------------------------------------------------------------------------------------------

/// One of N watches is always ready.
double dispatch_alone(loop& l, int watches)
{
    struct workload
    {
        loop& l;
        meter m{};
    } w{l};
    add_idle_watches(watches - 1);
    const pipe_ends ready;
    ready.put();
    virEventAddHandle(
        ready.reader, VIR_EVENT_HANDLE_READABLE,
        [](int, int, int, void* o) {
            auto& self = *static_cast<workload*>(o);
            if (self.m.is_over())
                self.l.stop();
        },
        &w, nullptr);
    l.run();
    return w.m.per_operation();
}

/// One of N watches is ready; its callback reads a byte and writes the next one.
double dispatch(loop& l, int watches)
{
    struct workload
    {
        loop& l;
        meter m{};
        pipe_ends ends{};
    } w{l};
    add_idle_watches(watches - 1);
    virEventAddHandle(
        w.ends.reader, VIR_EVENT_HANDLE_READABLE,
        [](int, int, int, void* o) {
            auto& self = *static_cast<workload*>(o);
            self.ends.take();
            self.ends.put();
            if (self.m.is_over())
                self.l.stop();
        },
        &w, nullptr);
    w.ends.put();
    l.run();
    return w.m.per_operation();
}

/// A timeout is set to 0 ms, fires, and is disabled.
double zero_timeout(loop& l, int idle)
{
    struct workload
    {
        loop& l;
        meter m{};
    } w{l};
    add_idle_timeouts(idle);
    virEventAddTimeout(
        0,
        [](int id, void* o) {
            auto& self = *static_cast<workload*>(o);
            virEventUpdateTimeout(id, -1);
            if (self.m.is_over())
                self.l.stop();
            virEventUpdateTimeout(id, 0);
        },
        &w, nullptr);
    l.run();
    return w.m.per_operation();
}

/// What libvirt does for each packet of a stream.
double stream_packet(loop& l, int idle)
{
    struct workload
    {
        loop& l;
        meter m{};
        pipe_ends ends{};
        int timer = 0;
    } w{l};
    add_idle_timeouts(idle);
    w.timer = virEventAddTimeout(
        -1,
        [](int id, void* o) {
            auto& self = *static_cast<workload*>(o);
            virEventUpdateTimeout(id, -1);
            if (self.m.is_over())
                self.l.stop();
            self.ends.put();
        },
        &w, nullptr);
    virEventAddHandle(
        w.ends.reader, VIR_EVENT_HANDLE_READABLE,
        [](int id, int, int, void* o) {
            auto& self = *static_cast<workload*>(o);
            self.ends.take();
            virEventUpdateTimeout(self.timer, 0);
            virEventUpdateHandle(id, VIR_EVENT_HANDLE_READABLE);
        },
        &w, nullptr);
    w.ends.put();
    l.run();
    return w.m.per_operation();
}

/// Sixteen watches or timeouts are added and removed; once they are freed the next sixteen follow. An
/// operation is one of them.
template <class AddAndRemove>
double churn(loop& l, AddAndRemove add_and_remove)
{
    struct workload
    {
        loop& l;
        AddAndRemove& add_and_remove;
        meter m{};
        int alive = 0;

        void again()
        {
            constexpr int batch = 16;
            alive = batch;
            for (int i = 0; i < batch; ++i)
                add_and_remove(on_free, this);
        }

        static void on_free(void* o)
        {
            auto& self = *static_cast<workload*>(o);
            if (self.m.is_over())
                self.l.stop();
            else if (--self.alive == 0)
                self.again();
        }
    } w{l, add_and_remove};
    w.again();
    l.run();
    return w.m.per_operation();
}

double watch_churn(loop& l, int background)
{
    add_idle_watches(background);
    const pipe_ends ends;
    return churn(l, [&](virFreeCallback free, void* opaque) {
        virEventRemoveHandle(
            virEventAddHandle(ends.reader, VIR_EVENT_HANDLE_READABLE, no_watch, opaque, free));
    });
}

double timeout_churn(loop& l, int background)
{
    add_idle_timeouts(background);
    return churn(l, [&](virFreeCallback free, void* opaque) {
        virEventRemoveTimeout(virEventAddTimeout(-1, no_timeout, opaque, free));
    });
}

struct churn_beside_zero
{
    loop& l;
    meter m{};
    double added = 0, freed = 0;

    void run()
    {
        virEventAddTimeout(
            0, [](int, void* o) { static_cast<churn_beside_zero*>(o)->on_timeout(); }, this, nullptr);
        l.run();
    }

    void on_timeout()
    {
        const auto on_free = [](void* o) { ++static_cast<churn_beside_zero*>(o)->freed; };
        virEventRemoveTimeout(virEventAddTimeout(-1, no_timeout, this, on_free));
        ++added;
        if (m.is_over())
            l.stop();
    }
};

/// Timeouts are added and removed while a 0 ms timeout is always ready.
double churn_beside_zero_timeout(loop& l, int)
{
    churn_beside_zero w{l};
    w.run();
    return w.m.per_operation();
}

/// The share of free callbacks that were called meanwhile, in per cent. The last one is due only afterwards.
double freed_beside_zero_timeout(loop& l, int)
{
    churn_beside_zero w{l};
    w.run();
    return 100 * w.freed / (w.added - 1);
}

/// The median time from another thread's update to the callback on the sleeping loop.
double update_from_elsewhere(loop& l, int)
{
    struct workload
    {
        loop& l;
        std::atomic<bool> called{false};
        std::atomic<bool> over{false};
        clock_type::time_point at{};
    } w{l};
    const int timer = virEventAddTimeout(
        -1,
        [](int id, void* o) {
            auto& self = *static_cast<workload*>(o);
            self.at = clock_type::now();
            virEventUpdateTimeout(id, -1);
            if (self.over)
                self.l.stop();
            self.called = true;
        },
        &w, nullptr);
    std::vector<double> times;
    std::thread other([&] {
        constexpr int updates = 2000;
        for (int i = 0; i < updates; ++i) {
            std::this_thread::sleep_for(20us); // Lets the loop go to sleep.
            w.called = false;
            w.over = i == updates - 1;
            const auto start = clock_type::now();
            virEventUpdateTimeout(timer, 0);
            while (!w.called)
                ;
            times.push_back(nanoseconds(w.at - start));
        }
    });
    l.run();
    other.join();
    return median(times);
}

/// The 99th percentile of the lateness of an application's 1 ms timer, beside 16 watches that are always
/// ready and the given number of 0 ms timeouts.
double lateness(loop& l, int zero_timeouts)
{
    for (int i = 0; i < zero_timeouts; ++i)
        virEventAddTimeout(0, no_timeout, nullptr, nullptr);
    const pipe_ends ready;
    ready.put();
    for (int i = 0; i < 16; ++i)
        virEventAddHandle(::dup(ready.reader), VIR_EVENT_HANDLE_READABLE, no_watch, nullptr, nullptr);
    std::vector<double> late;
    auto due = clock_type::now() + 1ms;
    l.tick(1ms, [&] {
        const auto now = clock_type::now();
        late.push_back(nanoseconds(now - due));
        due = now + 1ms;
        if (late.size() == 200)
            l.stop();
    });
    l.run();
    std::sort(late.begin(), late.end());
    return late[late.size() * 99 / 100];
}

// Measurements of all loops
// ----------------------------------------------------------------------------------

struct implementation
{
    const char* name;
    std::unique_ptr<loop> (*make)();
};

constexpr std::array<implementation, 4> implementations{
    {{"avirt", make_avirt_loop},
     {"default", make_default_loop},
     {"adapter", make_obvious_adapter},
     {"epoll", make_raw_epoll_loop}}};

struct workload
{
    const char* title;
    double (*run)(loop&, int);
    int size = 0;
    bool across_threads = false; // not with the bare loop, which has no lock
    int own_calls = 0;           // system calls of the operation itself; -1: not counted
};

constexpr std::array workloads{
    workload{"dispatch, 1 watch", dispatch, 1, false, 2},
    workload{"dispatch, 16 watches", dispatch, 16, false, -1},
    workload{"dispatch, 256 watches", dispatch, 256, false, -1},
    workload{"dispatch, 4096 watches", dispatch, 4096, false, -1},
    workload{"dispatch alone, 1 watch", dispatch_alone, 1},
    workload{"dispatch alone, 4096 watches", dispatch_alone, 4096, false, -1},
    workload{"0 ms timeout, 0 idle", zero_timeout, 0},
    workload{"0 ms timeout, 100 idle", zero_timeout, 100, false, -1},
    workload{"0 ms timeout, 10000 idle", zero_timeout, 10'000, false, -1},
    workload{"stream packet, 0 idle timeouts", stream_packet, 0, false, 2},
    workload{"stream packet, 10000 idle", stream_packet, 10'000, false, -1},
    workload{"watch churn, alone", watch_churn, 0},
    workload{"watch churn, 1000 others", watch_churn, 1000, false, -1},
    workload{"timeout churn, alone", timeout_churn, 0},
    workload{"timeout churn, 1000 others", timeout_churn, 1000, false, -1},
    workload{"timeout churn beside 0 ms", churn_beside_zero_timeout, 0, false, -1},
    workload{"update from another thread", update_from_elsewhere, 0, true, -1},
    workload{"lateness of a 1 ms timer, p99", lateness, 0, false, -1},
    workload{"lateness beside 0 ms timeout", lateness, 1, false, -1}};

bool can_run(const implementation& i, const workload& w)
{
    return !(w.across_threads && i.make == make_raw_epoll_loop);
}

double measure(const implementation& i, const workload& w)
{
    apart<double> child(std::string(i.name) + ", " + w.title, [&] { return w.run(*i.make(), w.size); });
    return child.result();
}

void print_times(int rounds, const char* wanted)
{
    std::printf(
        "%-32s %9s %9s %9s %9s   %s\n", "ns", "avirt", "default", "adapter", "epoll",
        "default/avirt  adapter/avirt  avirt/epoll");
    for (const auto& w : workloads) {
        if (!std::strstr(w.title, wanted))
            continue;
        std::array<std::vector<double>, implementations.size()> times;
        for (int round = 0; round < rounds; ++round) {
            for (std::size_t i = 0; i < implementations.size(); ++i)
                times[i].push_back(can_run(implementations[i], w) ? measure(implementations[i], w) : 0);
        }
        const auto ratio = [&](std::size_t a, std::size_t b) {
            std::vector<double> ratios;
            for (std::size_t round = 0; round < times[a].size(); ++round)
                ratios.push_back(times[b][round] > 0 ? times[a][round] / times[b][round] : 0);
            return median(ratios);
        };
        std::printf(
            "%-32s %9.0f %9.0f %9.0f %9.0f   %13.2f  %13.2f  %11.2f\n", w.title, median(times[0]),
            median(times[1]), median(times[2]), median(times[3]), ratio(1, 0), ratio(2, 0), ratio(0, 3));
        std::fflush(stdout);
    }
}

double count(const implementation& i, const workload& w, bool calls)
{
    constexpr std::size_t operations = 5000;
    apart<double> child(std::string(i.name) + ", " + w.title, [&] {
        meter::counted = operations;
        const auto l = i.make();
        if (calls)
            be_traced();
        return w.run(*l, w.size);
    });
    if (!calls)
        return child.result();
    return static_cast<double>(count_system_calls(child.pid())) / operations - w.own_calls;
}

void print_costs()
{
    for (const bool calls : {true, false}) {
        std::printf(
            "\n%-32s %9s %9s %9s %9s\n", calls ? "system calls" : "allocations", "avirt", "default",
            "adapter", "epoll");
        for (const auto& w : workloads) {
            if (w.own_calls < 0)
                continue;
            std::printf("%-32s", w.title);
            for (const auto& i : implementations)
                std::printf(" %9.2f", count(i, w, calls));
            std::printf("\n");
            std::fflush(stdout);
        }
    }
    std::printf("\n%-32s", "freed beside 0 ms timeout, %");
    for (const auto& i : implementations)
        std::printf(" %9.0f", measure(i, {"free callbacks", freed_beside_zero_timeout}));
    std::printf("\n");
}

/// Counts the system calls of an idle process with a connection to libvirt's built-in driver, an event
/// registration and 100 timeouts that are far away.
void print_idle_calls(const implementation& i)
{
    constexpr unsigned seconds = 10;
    apart<double> child(i.name, [&] {
        const auto l = i.make();
        auto* connection = virConnectOpen("test:///default");
        if (!connection)
            throw std::runtime_error("test:///default cannot be opened");
        virConnectDomainEventRegister(
            connection, [](virConnectPtr, virDomainPtr, int, int, void*) { return 0; }, nullptr, nullptr);
        add_idle_timeouts(100);
        be_traced();
        l->run();
        return 0.0;
    });
    std::printf(
        "system calls in %u idle seconds, %s: %zu\n", seconds, i.name,
        count_system_calls_within(child.pid(), seconds));
}

} // namespace

int main(int argc, char* argv[])
try {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
    if (rounds < 1) {
        std::fprintf(stderr, "usage: %s [ROUNDS [TEXT]]\n", argv[0]);
        return 2;
    }
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    print_times(rounds, argc > 2 ? argv[2] : "");
    if (argc > 2)
        return 0;
    print_costs();
    print_idle_calls(implementations[0]);
    print_idle_calls(implementations[1]);
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
