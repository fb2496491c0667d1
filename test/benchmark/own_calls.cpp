// SPDX-License-Identifier: BSL-1.0
#include "own_calls.hpp"

#include "apart.hpp"
#include "hosts.hpp"

#include <avirt/connection.hpp>
#include <avirt/event_loop.hpp>
#include <support/libvirtd.hpp>
#include <support/sshd.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace benchmark {
namespace {

/// avirt cannot tell whether a result of this type refers to the connection, which it closes therefore.
struct opaque_result
{
    int domains;
};

/// The seconds that a call on a connection of its own takes, one call after the other.
struct call_times
{
    double opened_for_each;
    double kept;
};

template <class Function>
double median_call(avirt::connection& conn, Function function)
{
    constexpr int calls = 20;
    std::vector<double> seconds;
    for (int i = 0; i <= calls; ++i) {
        const auto start = clock_type::now();
        conn.async_call(avirt::own_connection, function, asio::use_future).get();
        if (i > 0) // The first call opens a connection in any case.
            seconds.push_back(seconds_since(start));
    }
    return median(seconds);
}

call_times time_calls(const std::string& uri)
{
    asio::io_context io;
    const avirt::event_loop loop{io};
    auto work = asio::make_work_guard(io);
    std::thread runner([&] { io.run(); });
    call_times times{};
    {
        avirt::connection conn{io};
        conn.async_open(uri, asio::use_future).get();
        times.opened_for_each =
            median_call(conn, [](virConnectPtr c) { return opaque_result{virConnectNumOfDomains(c)}; });
        times.kept = median_call(conn, virConnectNumOfDomains);
    }
    work.reset();
    runner.join();
    return times;
}

void print_calls(const char* way, const std::string& uri, int rounds)
{
    std::vector<double> opened, kept, ratios;
    for (int i = 0; i < rounds; ++i) {
        const auto t = apart<call_times>("avirt", [&] { return time_calls(uri); }).result();
        opened.push_back(t.opened_for_each);
        kept.push_back(t.kept);
        ratios.push_back(t.opened_for_each / t.kept);
    }
    std::printf(
        "  %-16s %10.2f ms if a connection is opened for each  %8.2f ms if it is kept  ratio %.0f\n", way,
        median(opened) * 1e3, median(kept) * 1e3, median(ratios));
}

} // namespace

void measure_own_calls(int rounds)
{
    std::printf("\na call on a connection of its own\n");
    const support::libvirtd daemon;
    print_calls("a Unix socket", daemon.uri(), rounds);
    if (const auto obstacle = support::sshd::obstacle(); !obstacle.empty()) {
        std::printf("  SSH: not measured: %s\n", obstacle.c_str());
        return;
    }
    const support::sshd ssh(daemon.directory());
    print_calls(
        "SSH",
        "qemu+ssh://" + ssh.authority() + "/session?command=" + ssh.client().string()
            + "&keyfile=" + ssh.key().string() + "&no_tty=1&proxy=native",
        rounds);
}

} // namespace benchmark
