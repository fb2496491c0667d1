// SPDX-License-Identifier: BSL-1.0

// Compares streams through a private libvirtd in one run: with avirt, and with what libvirt offers by itself.
//
//   stream_benchmark [ROUNDS [TITLE]]
//
// TITLE: only the comparisons whose titles contain this.
// Every client has a process of its own, because libvirt accepts one event loop per process. The clients take
// turns, and the ratios are medians of pairs.

#include "apart.hpp"

#include <avirt/avirt.hpp>
#include <support/libvirtd.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/completion_condition.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" const unsigned char avirt_demo_guest[512];

namespace {

namespace asio = boost::asio;
using benchmark::apart;
using benchmark::median;
using clock_type = std::chrono::steady_clock;
using std::chrono::duration;

constexpr std::uint64_t volume_size = 256ull << 20;
constexpr std::size_t buffer_size = 256 * 1024;
constexpr std::size_t round_trips = 500;

[[noreturn]] void fail(const char* what)
{
    throw std::runtime_error(std::string(what) + ": " + virGetLastErrorMessage());
}

template <class T>
T check(T result, const char* what)
{
    if constexpr (std::is_pointer_v<T>) {
        if (!result)
            fail(what);
    }
    else if (result < 0) {
        fail(what);
    }
    return result;
}

double cpu_seconds()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// What was measured of one client.
struct result
{
    double seconds = 0;
    double cpu = 0;
    double late_99 = 0; // of a 1 ms timer on the same loop; 0: there is none
    double late_max = 0;
    double memory = 0; // peak, MiB
};

/// Whether this client also runs a timer.
bool with_timer = false;
constexpr std::chrono::milliseconds timer_interval{1};

class measured
{
public:
    result end(std::vector<double> lateness = {}) const
    {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        result r;
        r.seconds = duration<double>(clock_type::now() - start_).count();
        r.cpu = cpu_seconds() - cpu_;
        r.memory = static_cast<double>(usage.ru_maxrss) / 1024;
        if (!lateness.empty()) {
            std::sort(lateness.begin(), lateness.end());
            r.late_99 = lateness[lateness.size() * 99 / 100];
            r.late_max = lateness.back();
        }
        return r;
    }

private:
    clock_type::time_point start_ = clock_type::now();
    double cpu_ = cpu_seconds();
};

// Clients that use libvirt itself -------------------------------------------------------------------------

struct plain_client
{
    virConnectPtr connection;
    virStreamPtr stream;

    plain_client(const std::string& uri, unsigned flags)
        : connection(check(virConnectOpen(uri.c_str()), "connect")),
          stream(check(virStreamNew(connection, flags), "stream"))
    {
    }

    void open_volume(bool upload)
    {
        auto* volume = check(
            virStorageVolLookupByPath(connection, std::getenv(upload ? "AVIRT_UP" : "AVIRT_DOWN")), "volume");
        check((upload ? virStorageVolUpload : virStorageVolDownload)(volume, stream, 0, 0, 0), "open volume");
        virStorageVolFree(volume);
    }

    void open_console()
    {
        auto* domain = check(virDomainLookupByName(connection, "echo"), "domain");
        check(virDomainOpenConsole(domain, nullptr, stream, 0), "open console");
        virDomainFree(domain);
    }

    void finish()
    {
        check(virStreamFinish(stream), "finish");
        virStreamFree(stream);
        virConnectClose(connection);
    }
};

result blocking_download(const std::string& uri)
{
    plain_client c(uri, 0);
    c.open_volume(false);
    std::vector<char> buffer(buffer_size);
    const measured m;
    while (check(virStreamRecv(c.stream, buffer.data(), buffer.size()), "receive") > 0)
        ;
    const auto r = m.end();
    c.finish();
    return r;
}

result blocking_upload(const std::string& uri)
{
    plain_client c(uri, 0);
    c.open_volume(true);
    const std::vector<char> buffer(buffer_size, 'x');
    const measured m;
    for (std::uint64_t sent = 0; sent < volume_size;)
        sent +=
            static_cast<std::uint64_t>(check(virStreamSend(c.stream, buffer.data(), buffer.size()), "send"));
    const auto r = m.end();
    c.finish();
    return r;
}

/// libvirt's default event loop.
struct default_loop
{
    bool over = false;
    std::vector<double> lateness{};
    clock_type::time_point last{};

    default_loop()
    {
        check(virEventRegisterDefaultImpl(), "loop");
    }

    void run()
    {
        last = clock_type::now();
        const auto tick = [](int, void* self) { static_cast<default_loop*>(self)->on_tick(); };
        const int timer = with_timer
            ? virEventAddTimeout(static_cast<int>(timer_interval.count()), tick, this, nullptr)
            : 0;
        while (!over)
            virEventRunDefaultImpl();
        if (with_timer)
            virEventRemoveTimeout(timer);
    }

    void on_tick()
    {
        const auto now = clock_type::now();
        lateness.push_back(duration<double>(now - last - timer_interval).count());
        last = now;
    }
};

struct default_client : default_loop, plain_client
{
    std::vector<char> buffer = std::vector<char>(buffer_size, 'x');
    std::uint64_t moved = 0;
    std::vector<double> times{};
    clock_type::time_point sent{};

    explicit default_client(const std::string& uri) : plain_client(uri, VIR_STREAM_NONBLOCK) {}

    template <void (default_client::*Event)()>
    void listen(int events)
    {
        const auto callback = [](virStreamPtr, int, void* self) {
            (static_cast<default_client*>(self)->*Event)();
        };
        check(virStreamEventAddCallback(stream, events, callback, this, nullptr), "callback");
    }

    void receive()
    {
        for (;;) {
            const int n = virStreamRecv(stream, buffer.data(), buffer.size());
            if (n == -2)
                return;
            check(n, "receive");
            if (n == 0) {
                over = true;
                virStreamEventUpdateCallback(stream, 0);
                return;
            }
        }
    }

    void send()
    {
        moved +=
            static_cast<std::uint64_t>(check(virStreamSend(stream, buffer.data(), buffer.size()), "send"));
        if (moved >= volume_size) {
            over = true;
            virStreamEventUpdateCallback(stream, 0);
        }
    }

    void send_key()
    {
        sent = clock_type::now();
        check(virStreamSend(stream, "x", 1), "send");
    }

    void receive_key()
    {
        if (virStreamRecv(stream, buffer.data(), buffer.size()) <= 0)
            return;
        times.push_back(duration<double>(clock_type::now() - sent).count());
        over = times.size() == round_trips;
        if (!over)
            send_key();
    }

    result end(const measured& m)
    {
        const auto r = m.end(lateness);
        virStreamEventRemoveCallback(stream);
        finish();
        return r;
    }
};

result default_download(const std::string& uri)
{
    default_client c(uri);
    c.open_volume(false);
    c.listen<&default_client::receive>(VIR_STREAM_EVENT_READABLE);
    const measured m;
    c.run();
    return c.end(m);
}

result default_upload(const std::string& uri)
{
    default_client c(uri);
    c.open_volume(true);
    c.listen<&default_client::send>(VIR_STREAM_EVENT_WRITABLE);
    const measured m;
    c.run();
    return c.end(m);
}

result default_console(const std::string& uri)
{
    default_client c(uri);
    c.open_console();
    // QEMU looks for a reader only once a second.
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    c.listen<&default_client::receive_key>(VIR_STREAM_EVENT_READABLE);
    const measured m;
    c.send_key();
    c.run();
    auto r = c.end(m);
    r.seconds = median(c.times);
    return r;
}

// avirt ---------------------------------------------------------------------------------------------------

struct avirt_client
{
    asio::io_context io{1};
    avirt::event_loop loop{io};
    avirt::connection connection{io};
    avirt::async_stream stream{io};
    std::vector<char> buffer = std::vector<char>(buffer_size, 'x');
    asio::steady_timer timer{io};
    bool over = false;
    bool attempts = false; // Whether to write by write_some(), which has no completion.
    std::vector<double> lateness{};
    std::uint64_t moved = 0;
    std::vector<double> times{};
    clock_type::time_point sent{};

    template <class Opener>
    avirt_client(const std::string& uri, Opener opener)
    {
        await(connection.async_open(uri, asio::use_future));
        await(stream.async_open(connection, std::move(opener), asio::use_future));
    }

    void await(std::future<void> f)
    {
        io.restart();
        while (f.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
            io.run_one();
        f.get();
    }

    void tick()
    {
        timer.expires_after(timer_interval);
        timer.async_wait([this](avirt::error_code ec) {
            if (ec || over)
                return;
            lateness.push_back(duration<double>(clock_type::now() - timer.expiry()).count());
            tick();
        });
    }

    void read()
    {
        stream.async_read_some(
            asio::buffer(buffer), [this](avirt::error_code ec, std::size_t) { ec ? end_run() : read(); });
    }

    void write()
    {
        stream.async_write_some(asio::buffer(buffer), [this](avirt::error_code ec, std::size_t n) {
            moved += n;
            ec || moved >= volume_size ? end_run() : write();
        });
    }

    /// Writes everything by one asio::async_write. CompletionCondition: asio's transfer_all, or avirt's.
    template <class CompletionCondition>
    void write_all(CompletionCondition condition)
    {
        buffer.resize(volume_size, 'x');
        asio::async_write(
            stream, asio::buffer(buffer), condition, [this](avirt::error_code, std::size_t) { end_run(); });
    }

    asio::awaitable<void> read_in_coroutine()
    {
        avirt::error_code ec;
        while (!ec)
            co_await stream.async_read_some(
                asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, ec));
        end_run();
    }

    void type()
    {
        sent = clock_type::now();
        const auto key = asio::buffer("x", 1);
        avirt::error_code ec;
        if (!attempts || stream.write_some(key, ec) == 0)
            stream.async_write_some(key, [](avirt::error_code, std::size_t) {});
        stream.async_read_some(asio::buffer(buffer), [this](avirt::error_code, std::size_t) {
            times.push_back(duration<double>(clock_type::now() - sent).count());
            times.size() == round_trips ? end_run() : type();
        });
    }

    void end_run()
    {
        over = true;
        io.stop();
    }

    /// Runs until the transfer or conversation that was started is over.
    result run()
    {
        const measured m;
        if (with_timer)
            tick();
        io.restart();
        io.run();
        const auto r = m.end(lateness);
        timer.cancel();
        await(stream.async_finish(asio::use_future));
        connection.close();
        io.restart();
        io.run();
        return r;
    }
};

avirt::volume_locator volume(const char* variable)
{
    return avirt::volume_locator::at_path(std::getenv(variable));
}

result avirt_download(const std::string& uri)
{
    avirt_client c(uri, avirt::volume_download{volume("AVIRT_DOWN")});
    c.read();
    return c.run();
}

result avirt_coroutine_download(const std::string& uri)
{
    avirt_client c(uri, avirt::volume_download{volume("AVIRT_DOWN")});
    asio::co_spawn(c.io, c.read_in_coroutine(), asio::detached);
    return c.run();
}

result avirt_upload(const std::string& uri)
{
    avirt_client c(uri, avirt::volume_upload{volume("AVIRT_UP")});
    c.write();
    return c.run();
}

result avirt_packets_upload(const std::string& uri)
{
    avirt_client c(uri, avirt::volume_upload{volume("AVIRT_UP")});
    c.write_all(avirt::transfer_packets());
    return c.run();
}

result avirt_transfer_all_upload(const std::string& uri)
{
    avirt_client c(uri, avirt::volume_upload{volume("AVIRT_UP")});
    c.write_all(asio::transfer_all());
    return c.run();
}

result talk(const std::string& uri, bool attempts)
{
    avirt_client c(uri, avirt::console{"echo"});
    c.attempts = attempts;
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    c.type();
    auto r = c.run();
    r.seconds = median(c.times);
    return r;
}

result avirt_console(const std::string& uri)
{
    return talk(uri, false);
}

result avirt_attempts_console(const std::string& uri)
{
    return talk(uri, true);
}

// Comparisons ---------------------------------------------------------------------------------------------

struct client
{
    const char* name;
    result (*run)(const std::string& uri);
};

struct comparison
{
    const char* title;
    std::vector<client> clients;
    bool with_timer = false;
    bool frozen = false; // The daemon is stopped for half a second while the client is busy.
    bool is_latency = false;
};

result run_apart(const client& c, const comparison& what, support::libvirtd& daemon)
{
    apart<result> child(c.name, [&] {
        with_timer = what.with_timer;
        return c.run(daemon.uri());
    });
    if (what.frozen) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        daemon.freeze();
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        daemon.thaw();
    }
    return child.result();
}

/// Runs all clients in rounds, and prints the medians of their results and of the first one's ratios to each.
void compare(const comparison& what, support::libvirtd& daemon, int rounds)
{
    std::map<std::string, std::vector<result>> results;
    for (int i = 0; i < rounds; ++i) {
        for (const auto& c : what.clients)
            results[c.name].push_back(run_apart(c, what, daemon));
    }
    const auto median_of = [&](const char* name, auto value) {
        std::vector<double> values;
        for (const auto& r : results[name])
            values.push_back(value(r));
        return median(values);
    };
    const auto ratio_to = [&](const char* name, auto value) {
        std::vector<double> ratios;
        for (std::size_t i = 0; i < results[name].size(); ++i)
            ratios.push_back(value(results[what.clients.front().name][i]) / value(results[name][i]));
        return median(ratios);
    };
    const auto seconds = [](const result& r) { return r.seconds; };
    const auto cpu = [](const result& r) { return r.cpu; };
    std::printf(
        "\n%s\n  %-24s %8s %7s %8s %8s %6s   %s\n", what.title, "", what.is_latency ? "us" : "MiB/s", "CPU s",
        "p99 ms", "max ms", "MiB", "time and CPU of the first client / of this one");
    for (const auto& c : what.clients) {
        const auto s = median_of(c.name, seconds);
        std::printf(
            "  %-24s %8.0f %7.3f %8.2f %8.2f %6.0f   %.2f %.2f\n", c.name,
            what.is_latency ? s * 1e6 : static_cast<double>(volume_size >> 20) / s, median_of(c.name, cpu),
            median_of(c.name, [](const result& r) { return r.late_99 * 1e3; }),
            median_of(c.name, [](const result& r) { return r.late_max * 1e3; }),
            median_of(c.name, [](const result& r) { return r.memory; }), ratio_to(c.name, seconds),
            ratio_to(c.name, cpu));
    }
    std::fflush(stdout);
}

void set_up(support::libvirtd& daemon)
{
    ::setenv("AVIRT_DOWN", daemon.make_volume("down", volume_size).c_str(), 1);
    ::setenv("AVIRT_UP", daemon.make_volume("up", 0).c_str(), 1);
    // In a child: this process must not use libvirt, because its children register event loops.
    const pid_t pid = ::fork();
    if (pid == 0) {
        auto* c = check(virConnectOpen(daemon.uri().c_str()), "connect");
        check(virStoragePoolCreateXML(c, daemon.pool_xml().c_str(), 0), "pool");
        check(virDomainCreateXML(c, daemon.guest_xml("echo", avirt_demo_guest).c_str(), 0), "guest");
        ::_exit(0);
    }
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0)
        throw std::runtime_error("the daemon cannot be set up");
}

} // namespace

int main(int argc, char* argv[])
try {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
    if (rounds < 1) {
        std::fprintf(stderr, "usage: %s [ROUNDS [TITLE]]\n", argv[0]);
        return 2;
    }
    support::libvirtd daemon(support::libvirtd::kind::session, "/dev/shm");
    set_up(daemon);
    const client download{"avirt", avirt_download}, default_down{"default loop, callback", default_download};
    const client upload{"avirt", avirt_upload}, default_up{"default loop, callback", default_upload};
    const std::vector<comparison> comparisons{
        {"download, 256 MiB",
         {download,
          {"avirt, coroutine", avirt_coroutine_download},
          default_down,
          {"blocking", blocking_download}}},
        {"download beside a 1 ms timer (p99 and max: its lateness)", {download, default_down}, true},
        {"upload, 256 MiB",
         {upload,
          {"async_write, packets", avirt_packets_upload},
          {"async_write", avirt_transfer_all_upload},
          default_up,
          {"blocking", blocking_upload}}},
        {"upload to a daemon stopped for 500 ms, beside a 1 ms timer (p99 and max: its lateness)",
         {upload, default_up},
         true,
         true},
        {"console, round trip of one byte",
         {{"avirt", avirt_console},
          {"avirt, write_some", avirt_attempts_console},
          {"default loop, callback", default_console}},
         false,
         false,
         true}};
    const std::string wanted = argc > 2 ? argv[2] : "";
    for (const auto& c : comparisons) {
        if (std::string(c.title).find(wanted) != std::string::npos)
            compare(c, daemon, rounds);
    }
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
