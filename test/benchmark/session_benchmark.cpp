// SPDX-License-Identifier: BSL-1.0

// Measures console sessions with real guests of a private libvirtd: what a further view of a flood costs,
// what an idle view and an idle session cost, and how much longer a key takes through a session than through
// a stream.
//
//   session_benchmark [ROUNDS [flood|idle|echo]]
//
// Each measurement has a process of its own, because libvirt accepts one event loop per process. They take
// turns, and all figures are medians.

#include "apart.hpp"
#include "process_figures.hpp"

#include <avirt/avirt.hpp>
#include <support/libvirtd.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" const unsigned char avirt_demo_guest[512];
extern "C" const unsigned char avirt_flood_guest[512];

namespace {

namespace asio = boost::asio;
using avirt::console_state;
using avirt::error_code;
using benchmark::apart;
using benchmark::median;
using benchmark::present_memory;
using benchmark::present_wake_ups;
using clock_type = std::chrono::steady_clock;
using std::chrono::duration;

constexpr std::uint64_t flood_size = 4 << 20;
constexpr std::size_t round_trips = 1000;
constexpr int idle_views = 1000;
constexpr int idle_sessions = 200;
constexpr std::chrono::seconds idle_time{15};

double cpu_seconds()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A host in a loop of its own.
struct hosted
{
    asio::io_context io;
    avirt::event_loop loop{io};
    avirt::supervised_connection host;

    explicit hosted(const std::string& uri) : host(io, options(uri)) {}

    static avirt::supervision_options options(const std::string& uri)
    {
        avirt::supervision_options o;
        o.open.uri = uri;
        o.open.keepalive_interval = std::chrono::seconds(0); // Its PINGs would wake the loop.
        return o;
    }

    void run_until(const std::function<bool()>& done)
    {
        while (!done()) {
            if (io.run_one_for(std::chrono::seconds(60)) == 0)
                throw std::runtime_error("nothing happens");
        }
    }

    void reach(avirt::console_session& session, console_state state)
    {
        bool is_reached = false;
        session.async_wait_for(state, [&](error_code) { is_reached = true; });
        run_until([&] { return is_reached; });
    }
};

/// A view that is read all the time.
struct reader
{
    explicit reader(avirt::console_session& session) : view(session) {}

    void read()
    {
        view.async_read_some(asio::buffer(memory), [this](error_code ec, std::size_t n) {
            bytes += n;
            if (ec && ec != avirt::error::console_state_changed && ec != avirt::error::output_lost)
                return;
            read();
        });
    }

    avirt::console_view view;
    std::array<char, 16 * 1024> memory;
    std::uint64_t bytes = 0;
};

struct flood_result
{
    double cpu;  // seconds for each MiB of output
    double rate; // MiB/s
};

flood_result read_flood(const std::string& uri, std::size_t views)
{
    hosted h(uri);
    avirt::console_session session{h.host, avirt::console{"flood"}};
    h.reach(session, console_state::attached);
    std::vector<std::unique_ptr<reader>> readers;
    std::vector<avirt::console_view> frozen;
    for (std::size_t i = 0; i < views; ++i) {
        if (i % 10 == 9)
            frozen.emplace_back(session);
        else
            readers.emplace_back(std::make_unique<reader>(session))->read();
    }
    h.run_until([&] { return session.end_offset() > flood_size / 4; });
    const auto begin = clock_type::now();
    const auto cpu = cpu_seconds();
    const auto from = session.end_offset();
    h.run_until([&] { return session.end_offset() > from + flood_size; });
    const auto mib = static_cast<double>(session.end_offset() - from) / (1 << 20);
    const flood_result result{
        (cpu_seconds() - cpu) / mib, mib / duration<double>(clock_type::now() - begin).count()};
    session.close();
    h.host.close();
    h.run_until([&] { return session.state() == console_state::closed; });
    return result;
}

struct idle_result
{
    double view_bytes;
    double session_bytes;
    double wake_ups_of_one; // a second, with one session and no view
    double wake_ups;        // a second, with all of them
};

/// How often epoll_wait() returns in a second without operations. The PINGs of the daemon make it return.
double idle_wake_ups(asio::io_context& io)
{
    const auto wait = [&](std::chrono::seconds time) {
        asio::steady_timer timer{io, time};
        timer.async_wait([&](error_code) { io.stop(); });
        io.restart();
        io.run();
        io.restart();
    };
    wait(std::chrono::seconds(2)); // What has just been begun ends.
    const auto before = present_wake_ups().returns_of_epoll_wait;
    wait(idle_time);
    return (present_wake_ups().returns_of_epoll_wait - before) / duration<double>(idle_time).count();
}

idle_result stay_idle(const std::string& uri)
{
    hosted h(uri);
    std::vector<std::unique_ptr<avirt::console_session>> sessions;
    const auto add = [&](const std::string& guest) {
        sessions.push_back(std::make_unique<avirt::console_session>(h.host, avirt::console{guest}));
    };
    idle_result result{};
    add("echo");
    h.reach(*sessions.front(), console_state::attached);
    result.wake_ups_of_one = idle_wake_ups(h.io);
    auto before = present_memory().heap;
    for (int i = 0; i < idle_sessions; ++i)
        add("guest " + std::to_string(i));
    h.reach(*sessions.back(), console_state::off);
    result.session_bytes = (present_memory().heap - before) / idle_sessions;

    std::vector<avirt::console_view> views;
    views.reserve(idle_views);
    char byte = 0;
    before = present_memory().heap;
    for (int i = 0; i < idle_views; ++i)
        views.emplace_back(*sessions.front())
            .async_read_some(asio::buffer(&byte, 1), [](error_code, std::size_t) {});
    result.view_bytes = (present_memory().heap - before) / idle_views;

    result.wake_ups = idle_wake_ups(h.io);
    return result;
}

struct echo_result
{
    double seconds;
    double cpu; // for all round trips
};

/// Types a key, waits for its echo, and so on.
template <class Writer, class Reader>
echo_result type(asio::io_context& io, Writer& writer, Reader& reader)
{
    std::this_thread::sleep_for(std::chrono::milliseconds(1500)); // QEMU notices the terminal.
    char memory[100];
    std::vector<double> times;
    clock_type::time_point sent;
    const auto cpu = cpu_seconds();
    std::function<void()> next;
    const std::function<void(error_code, std::size_t)> on_read = [&](error_code, std::size_t n) {
        if (n == 0)
            return reader.async_read_some(asio::buffer(memory), on_read); // A change of state.
        times.push_back(duration<double>(clock_type::now() - sent).count());
        times.size() == round_trips ? io.stop() : next();
    };
    next = [&] {
        sent = clock_type::now();
        writer.async_write_some(asio::buffer("x", 1), [](error_code, std::size_t) {});
        reader.async_read_some(asio::buffer(memory), on_read);
    };
    next();
    io.run();
    return {median(times), cpu_seconds() - cpu};
}

echo_result echo_of_stream(const std::string& uri)
{
    asio::io_context io;
    avirt::event_loop loop{io};
    avirt::connection connection{io};
    avirt::async_stream stream{io};
    bool is_open = false;
    connection.async_open(uri, [&](error_code) {
        stream.async_open(connection, avirt::console{"echo"}, [&](error_code ec) { is_open = !ec; });
    });
    while (!is_open)
        io.run_one();
    return type(io, stream, stream);
}

echo_result echo_of_session(const std::string& uri)
{
    hosted h(uri);
    avirt::console_session session{h.host, avirt::console{"echo"}, {.force = true}};
    avirt::console_view view{session};
    h.reach(session, console_state::attached);
    return type(h.io, session, view);
}

void set_up(support::libvirtd& daemon)
{
    // In a child: this process must not use libvirt, because its children register event loops.
    const pid_t pid = ::fork();
    if (pid == 0) {
        auto* c = virConnectOpen(daemon.uri().c_str());
        bool is_ready = c != nullptr;
        for (const auto& [name, guest] :
             {std::pair("echo", avirt_demo_guest), std::pair("flood", avirt_flood_guest)})
            is_ready = is_ready && virDomainCreateXML(c, daemon.guest_xml(name, guest).c_str(), 0);
        ::_exit(is_ready ? 0 : 1);
    }
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0)
        throw std::runtime_error("the daemon cannot be set up");
}

template <class Result>
double median_of(const std::vector<Result>& results, double Result::*value)
{
    std::vector<double> values;
    for (const auto& r : results)
        values.push_back(r.*value);
    return median(values);
}

void compare_floods(const std::string& uri, int rounds)
{
    constexpr std::array<std::size_t, 3> counts{1, 100, 1000};
    std::array<std::vector<flood_result>, counts.size()> results;
    for (int i = 0; i < rounds; ++i) {
        for (std::size_t c = 0; c < counts.size(); ++c)
            results[c].push_back(
                apart<flood_result>("flood", [&] { return read_flood(uri, counts[c]); }).result());
    }
    const auto alone = median_of(results[0], &flood_result::cpu);
    std::printf(
        "a flooding guest, one view in ten is frozen\n  %8s %8s %12s   %s\n", "views", "MiB/s", "CPU ms/MiB",
        "CPU of a further view / of the session with one");
    for (std::size_t c = 0; c < counts.size(); ++c) {
        const auto cpu = median_of(results[c], &flood_result::cpu);
        std::printf("  %8zu %8.2f %12.2f", counts[c], median_of(results[c], &flood_result::rate), cpu * 1e3);
        if (counts[c] > 1)
            std::printf("   %.4f", (cpu - alone) / static_cast<double>(counts[c] - 1) / alone);
        std::printf("\n");
    }
}

void measure_idleness(const std::string& uri, int rounds)
{
    std::vector<idle_result> results;
    for (int i = 0; i < rounds; ++i)
        results.push_back(apart<idle_result>("idle", [&] { return stay_idle(uri); }).result());
    std::printf(
        "\n%d sessions, one of them attached and with %d views, all idle\n"
        "  %.0f bytes for each view, %.0f for each session; %.2f returns of epoll_wait a second "
        "(%.2f with one session)\n",
        idle_sessions + 1, idle_views, median_of(results, &idle_result::view_bytes),
        median_of(results, &idle_result::session_bytes), median_of(results, &idle_result::wake_ups),
        median_of(results, &idle_result::wake_ups_of_one));
}

void compare_echoes(const std::string& uri, int rounds)
{
    std::vector<double> times, cpus;
    std::vector<echo_result> streams, sessions;
    for (int i = 0; i < rounds; ++i) {
        streams.push_back(apart<echo_result>("stream", [&] { return echo_of_stream(uri); }).result());
        sessions.push_back(apart<echo_result>("session", [&] { return echo_of_session(uri); }).result());
        times.push_back(sessions.back().seconds / streams.back().seconds);
        cpus.push_back(sessions.back().cpu / streams.back().cpu);
    }
    std::printf(
        "\nthe echo of a key\n  stream %.0f us, session and view %.0f us; time and CPU of the latter / of "
        "the former: "
        "%.2f %.2f\n",
        median_of(streams, &echo_result::seconds) * 1e6, median_of(sessions, &echo_result::seconds) * 1e6,
        median(times), median(cpus));
}

} // namespace

int main(int argc, char* argv[])
try {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
    const std::string_view wanted = argc > 2 ? argv[2] : "";
    if (rounds < 1 || argc > 3) {
        std::fprintf(stderr, "usage: %s [ROUNDS [flood|idle|echo]]\n", argv[0]);
        return 2;
    }
    support::libvirtd daemon;
    set_up(daemon);
    if (wanted.empty() || wanted == "flood")
        compare_floods(daemon.uri(), rounds);
    if (wanted.empty() || wanted == "idle")
        measure_idleness(daemon.uri(), rounds);
    if (wanted.empty() || wanted == "echo")
        compare_echoes(daemon.uri(), rounds);
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
