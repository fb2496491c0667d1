// SPDX-License-Identifier: BSL-1.0

// Measures a process that supervises a thousand hosts: its memory, wake-ups and threads, and whether hosts
// that do not answer delay the others.
//
//   host_benchmark [ROUNDS]
//
// Every measurement has a process of its own. Nearly all hosts are connections to a fake daemon, which is
// another process: it sends nothing that it is not asked for, and it can be stopped. Some figures come from a
// private libvirtd.

#include "apart.hpp"
#include "daemon_apart.hpp"
#include "hosts.hpp"
#include "own_calls.hpp"
#include "process_figures.hpp"

#include <support/fake_libvirtd.hpp>
#include <support/libvirtd.hpp>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>

namespace {

using namespace benchmark;
using namespace std::chrono_literals;
using std::chrono::seconds;

constexpr int host_count = 1000;
constexpr int silent_count = 100;
constexpr int called_count = 50;
constexpr int domains_per_host = 10;
constexpr seconds idle_time{10};
constexpr seconds longer_idle_time{35}; // longer than the time limit of opening, for which there is a timer
constexpr seconds no_keepalive{0};

// The peers -----------------------------------------------------------------------------------------------

/// Gives the daemon running domains.
void add_domains(support::fake_libvirtd& daemon, int count)
{
    std::vector<support::encoded> domains;
    for (int i = 0; i < count; ++i)
        domains.push_back(support::xdr(
            "domain-" + std::to_string(i), support::encoded{std::string(16, static_cast<char>('a' + i))}, i));
    daemon.answer_running_domains(domains);
}

void set_up_nothing(support::fake_libvirtd&) {}

// Memory, wake-ups, threads -------------------------------------------------------------------------------

/// The growth from one moment to another, in KiB for each of so many.
memory growth(const memory& from, const memory& to, int count)
{
    const double unit = 1024.0 * count;
    return {(to.heap - from.heap) / unit, (to.resident - from.resident) / unit};
}

struct life
{
    memory each; // KiB
    wake_ups idle;
    phase opening, idling, closing;
    int disconnected = 0;
};

/// The life of so many hosts that are healthy. One more is opened first, so that what a process has only once
/// is not counted.
life live(const std::string& uri, int count, seconds keepalive_interval, seconds idle)
{
    hosts h;
    h.on_loop([&] { h.add(uri, keepalive_interval); });
    h.wait_until_connected(clock_type::now(), 1);
    h.wait_until_idle();
    const auto memory_before = present_memory();

    life result;
    const auto start = clock_type::now();
    h.on_loop([&] {
        for (int i = 0; i < count; ++i)
            h.add(uri, keepalive_interval);
    });
    result.opening = h.wait_until_connected(start, count + 1);
    h.wait_until_idle();
    result.each = growth(memory_before, present_memory(), count);

    const auto before = present_wake_ups();
    std::this_thread::sleep_for(idle);
    const auto after = present_wake_ups();
    result.idle = {
        after.returns_of_epoll_wait - before.returns_of_epoll_wait,
        after.voluntary_switches - before.voluntary_switches};
    result.idling.threads = threads();
    result.closing = h.close_and_wait();
    result.disconnected = h.disconnected();
    return result;
}

/// The memory of connections that libvirt has opened without avirt.
memory open_without_avirt(const std::string& uri, int count, bool with_events)
{
    const auto open = [&] {
        const auto connection = virConnectOpen(uri.c_str());
        if (!connection)
            throw std::runtime_error(virGetLastErrorMessage());
        const auto callback =
            VIR_DOMAIN_EVENT_CALLBACK(+[](virConnectPtr, virDomainPtr, int, int, void*) { return 0; });
        if (with_events
            && virConnectDomainEventRegisterAny(
                   connection, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, callback, nullptr, nullptr)
                < 0)
            throw std::runtime_error(virGetLastErrorMessage());
    };
    virEventRegisterDefaultImpl();
    open();
    const auto before = present_memory();
    for (int i = 0; i < count; ++i)
        open();
    return growth(before, present_memory(), count);
}

// Isolation -----------------------------------------------------------------------------------------------

/// Which hosts do not answer beside the healthy ones.
enum class silence {
    none,
    from_the_start, // They accept the connection.
    once_connected, // Each has a pending call while the healthy hosts are opened.
    later           // Once all hosts are connected; each is called together with the healthy ones.
};

struct opened_beside
{
    phase opening;            // until all healthy hosts are connected
    double call = 0;          // the median time of a call on a healthy host
    double slowest_call = 0;  // of all that were made one after the other
    double first_at_once = 0; // until all of 50 calls on 50 hosts have returned: the first time
    double at_once = 0;       // the same, the median of all times
    phase closing;
};

int call_daemon(virConnectPtr connection)
{
    unsigned long version = 0;
    return virConnectGetLibVersion(connection, &version);
}

/// Calls the first hosts, and does not wait for their answers. On the loop's thread only.
void call_in_vain(hosts& h, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i)
        h.all()[i].connection().async_call(call_daemon, [](avirt::error_code, int) {});
}

/// Calls of the daemons of healthy hosts.
class calls
{
public:
    calls(hosts& h, std::size_t first) : hosts_(h), first_(first) {}

    /// Calls one host after the other, and returns the time that each call took.
    std::vector<double> one_by_one()
    {
        std::promise<void> all_have_returned;
        std::vector<double> times;
        std::function<void()> call_next = [&] {
            call(times.size(), [&, start = clock_type::now()] {
                times.push_back(seconds_since(start));
                times.size() == called_count ? all_have_returned.set_value() : call_next();
            });
        };
        hosts_.on_loop(call_next);
        all_have_returned.get_future().get();
        return times;
    }

    /// Calls all hosts at once, and returns the time until all calls have returned.
    ///
    /// @param others The number of other hosts, the first ones, which are called before and do not answer.
    double at_once(std::size_t others = 0)
    {
        std::promise<void> all_have_returned;
        int returned = 0;
        const auto start = clock_type::now();
        hosts_.on_loop([&] {
            call_in_vain(hosts_, others);
            for (std::size_t i = 0; i < called_count; ++i)
                call(i, [&] {
                    if (++returned == called_count)
                        all_have_returned.set_value();
                });
        });
        all_have_returned.get_future().get();
        return seconds_since(start);
    }

private:
    template <class F>
    void call(std::size_t number, F on_return)
    {
        hosts_.all()[first_ + number].connection().async_call(
            call_daemon, [on_return](avirt::error_code ec, int) {
                if (ec)
                    throw avirt::exception(ec, {});
                on_return();
            });
    }

    hosts& hosts_;
    std::size_t first_;
};

/// Closes so many connected hosts at once when their daemon has stopped.
phase close_stopped(const daemon_apart& daemon, int count)
{
    hosts h;
    const auto start = clock_type::now();
    h.on_loop([&] {
        for (int i = 0; i < count; ++i)
            h.add(daemon.uri(), no_keepalive);
    });
    h.wait_until_connected(start, count);
    h.wait_until_idle();
    daemon.stop();
    return h.close_and_wait();
}

opened_beside open_beside(const daemon_apart& healthy, const daemon_apart& silent, silence how)
{
    constexpr int healthy_count = host_count - silent_count;
    const int others = how == silence::none ? 0 : silent_count;
    hosts h;
    const auto add_others = [&] {
        for (int i = 0; i < others; ++i)
            h.add(silent.uri(), no_keepalive);
    };
    int connected = healthy_count;
    if (how == silence::once_connected || how == silence::later) {
        h.on_loop(add_others);
        h.wait_until_connected(clock_type::now(), others);
        connected += others;
    }
    if (how == silence::from_the_start || how == silence::once_connected)
        silent.stop();

    opened_beside result;
    const auto start = clock_type::now();
    h.on_loop([&] {
        if (how == silence::from_the_start)
            add_others();
        if (how == silence::once_connected)
            call_in_vain(h, silent_count);
        for (int i = 0; i < healthy_count; ++i)
            h.add(healthy.uri(), no_keepalive);
    });
    result.opening = h.wait_until_connected(start, connected);

    calls c(h, static_cast<std::size_t>(others));
    if (how == silence::later)
        silent.stop();
    result.first_at_once = c.at_once(how == silence::later ? silent_count : 0);
    std::vector<double> times, times_at_once;
    for (int i = 0; i < 20; ++i) {
        const auto more = c.one_by_one();
        times.insert(times.end(), more.begin(), more.end());
        times_at_once.push_back(c.at_once());
    }
    result.call = median(times);
    result.slowest_call = *std::max_element(times.begin(), times.end());
    result.at_once = median(times_at_once);
    result.closing = h.close_and_wait();
    return result;
}

// The table -----------------------------------------------------------------------------------------------

void print_title(const char* title)
{
    std::printf("\n%s\n", title);
}

void print(const char* what, double figure, const char* unit)
{
    std::printf("  %-72s %9.4g %s\n", what, figure, unit);
    std::fflush(stdout);
}

/// @param goal the greatest figure that is good.
void print(const char* what, double figure, const char* unit, double goal)
{
    std::printf(
        "  %-72s %9.4g %-4s goal %4g %s\n", what, figure, unit, goal, figure <= goal ? "met" : "NOT MET");
    std::fflush(stdout);
}

void print_life(const life& l)
{
    constexpr double most_threads = 64;
    print("threads while all hosts are opened", l.opening.threads, "", most_threads);
    print("threads while they are idle", l.idling.threads, "", most_threads);
    print("threads while all are closed at once", l.closing.threads, "", most_threads);
    print("time until all are connected", l.opening.seconds, "s");
    print("time until all are closed", l.closing.seconds, "s");
    if (l.disconnected)
        print("reports that a host is disconnected", l.disconnected, "");
}

void print_memory(const char* what, const memory& m)
{
    print((std::string(what) + ": allocated").c_str(), m.heap, "KiB");
    print((std::string(what) + ": resident").c_str(), m.resident, "KiB");
}

void measure_life_with_fake_daemons()
{
    const auto live_apart = [](const auto& set_up, seconds keepalive, seconds idle) {
        const daemon_apart daemon(set_up);
        return apart<life>("avirt", [&] { return live(daemon.uri(), host_count, keepalive, idle); }).result();
    };
    const auto libvirt_alone = [](bool with_events) {
        const daemon_apart daemon(set_up_nothing);
        return apart<memory>(
                   "libvirt", [&] { return open_without_avirt(daemon.uri(), host_count, with_events); })
            .result();
    };
    constexpr double most_memory = 30;
    print_title("1000 hosts, each connected and idle; no domains, no keepalive");
    const auto quiet = live_apart(set_up_nothing, no_keepalive, longer_idle_time);
    print("memory for each host: allocated", quiet.each.heap, "KiB", most_memory);
    print("memory for each host: resident", quiet.each.resident, "KiB", most_memory);
    print_memory("of which virConnectOpen alone", libvirt_alone(false));
    print_memory("of which virConnectOpen and a registration for lifecycle events", libvirt_alone(true));
    print("returns of epoll_wait in 35 s", quiet.idle.returns_of_epoll_wait, "", 0);
    print("voluntary context switches in 35 s", quiet.idle.voluntary_switches, "", 0);
    print_life(quiet);

    print_title("the same with 10 domains on each host, and with keepalive every 5 s");
    const auto busy = live_apart(
        [](support::fake_libvirtd& d) {
            add_domains(d, domains_per_host);
            d.answer_keepalives();
        },
        avirt::open_options().keepalive_interval, idle_time);
    print_memory("memory for each host", busy.each);
    print("returns of epoll_wait in 10 s", busy.idle.returns_of_epoll_wait, "");
    print("voluntary context switches in 10 s", busy.idle.voluntary_switches, "");
    print_life(busy);
}

void measure_life_with_libvirtd()
{
    print_title("1000 connections to a private libvirtd, which sends a PING to each every 5 s; no keepalive "
                "of avirt's");
    const support::libvirtd daemon(support::libvirtd::kind::session, "/dev/shm");
    const auto real = apart<life>("avirt", [&] {
                          return live(daemon.uri(), host_count, no_keepalive, idle_time);
                      }).result();
    print_memory("memory for each host", real.each);
    print("returns of epoll_wait in 10 s", real.idle.returns_of_epoll_wait, "");
    print("voluntary context switches in 10 s", real.idle.voluntary_switches, "");
    print_life(real);
}

void measure_isolation(int rounds)
{
    const auto open_apart = [](silence how) {
        const daemon_apart healthy(set_up_nothing), silent(set_up_nothing);
        return apart<opened_beside>("avirt", [&] { return open_beside(healthy, silent, how); }).result();
    };
    struct variant
    {
        silence how;
        const char* title;
        std::vector<opened_beside> results{};
    };
    std::vector<variant> variants{
        {silence::none, "900 hosts, all healthy"},
        {silence::from_the_start, "900 healthy hosts beside 100 that accept the connection and never answer"},
        {silence::once_connected,
         "900 healthy hosts beside 100 that were connected and have stopped, each with a pending call"},
        {silence::later, "900 healthy hosts beside 100 that stop when all are connected; all are called"}};
    for (int i = 0; i < rounds; ++i) {
        for (auto& v : variants)
            v.results.push_back(open_apart(v.how));
    }
    for (const auto& v : variants) {
        const auto median_of = [&](auto value) {
            std::vector<double> values;
            for (const auto& r : v.results)
                values.push_back(value(r));
            return median(values);
        };
        const auto median_ratio = [&](auto value) {
            std::vector<double> ratios;
            for (std::size_t i = 0; i < v.results.size(); ++i)
                ratios.push_back(value(v.results[i]) / value(variants.front().results[i]));
            return median(ratios);
        };
        const auto print_time = [&](const char* what, double unit, const char* unit_name, auto value) {
            print(what, median_of(value) * unit, unit_name);
            if (v.how != silence::none)
                print("    ratio to that without silent hosts", median_ratio(value), "");
        };
        print_title(v.title);
        print_time(
            "time until all 900 are connected", 1, "s", [](const auto& r) { return r.opening.seconds; });
        print_time("a call on a healthy host, median", 1e3, "ms", [](const auto& r) { return r.call; });
        print(
            "the slowest of 1000 such calls", median_of([](const auto& r) { return r.slowest_call; }) * 1e3,
            "ms", 500);
        print_time(
            "50 calls at once, on 50 healthy hosts", 1e3, "ms", [](const auto& r) { return r.at_once; });
        print(
            "the same, the first time", median_of([](const auto& r) { return r.first_at_once; }) * 1e3, "ms",
            500);
        print("threads", median_of([](const auto& r) { return r.opening.threads; }), "");
        print("time until all are closed", median_of([](const auto& r) { return r.closing.seconds; }), "s");
    }
    print_title("1000 hosts that have stopped when they were connected, all closed at once");
    const daemon_apart daemon(set_up_nothing);
    const auto closing = apart<phase>("avirt", [&] { return close_stopped(daemon, host_count); }).result();
    print("time until all are closed", closing.seconds, "s");
    print("threads", closing.threads, "");
}

} // namespace

int main(int argc, char* argv[])
try {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
    if (rounds < 1) {
        std::fprintf(stderr, "usage: %s [ROUNDS]\n", argv[0]);
        return 2;
    }
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    measure_life_with_fake_daemons();
    measure_life_with_libvirtd();
    measure_isolation(rounds);
    measure_own_calls(rounds);
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
