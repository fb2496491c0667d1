// SPDX-License-Identifier: BSL-1.0

// Trials that take too long for the tests:
//
//   endurance download [SECONDS]   2 GiB, with a reader that pauses in the middle for SECONDS (90)
//   endurance sparse [SECONDS]     a hole of 1 TiB, before which the reader pauses for SECONDS (60)
//   endurance upload               1 GiB, to a daemon that is stopped three times for a second
//   endurance absence [SECONDS]    a supervised connection whose daemon is away for SECONDS (60)
//
// Each prints its results, and fails if they are not what avirt promises.

#include <avirt/avirt.hpp>
#include <support/libvirtd.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include <sys/resource.h>

extern "C" const unsigned char avirt_demo_guest[512];

namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using clock_type = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr std::uint64_t mebibyte = 1 << 20;

double peak_memory()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

double since(clock_type::time_point start)
{
    return std::chrono::duration<double>(clock_type::now() - start).count();
}

void require(bool holds, const char* what)
{
    if (!holds)
        throw std::runtime_error(what);
}

/// Measures how late an unrelated handler of the same context runs.
class heartbeat
{
public:
    explicit heartbeat(asio::io_context& io) : timer_(io)
    {
        beat();
    }

    void stop()
    {
        is_over_ = true;
        timer_.cancel();
    }

    double latest() const noexcept
    {
        return latest_;
    }

private:
    void beat()
    {
        timer_.expires_after(std::chrono::milliseconds(1));
        timer_.async_wait([this](avirt::error_code ec) {
            if (ec || is_over_)
                return;
            latest_ = std::max(latest_, since(timer_.expiry()));
            beat();
        });
    }

    asio::steady_timer timer_;
    bool is_over_ = false;
    double latest_ = 0;
};

struct trial
{
    support::libvirtd daemon;
    asio::io_context io;
    avirt::event_loop loop{io};
    avirt::connection connection{io};
    avirt::async_stream stream{io};

    asio::awaitable<void> connect()
    {
        co_await connection.async_open(daemon.uri(), use_awaitable);
    }

    asio::awaitable<void> make_pool()
    {
        // Not inside the co_await expression: GCC 12 would destroy the lambda's captures twice.
        const auto create = [xml = daemon.pool_xml()](virConnectPtr c) {
            return avirt::storage_pool(virStoragePoolCreateXML(c, xml.c_str(), 0));
        };
        co_await connection.async_call(create, use_awaitable);
    }

    void run(asio::awaitable<void> what)
    {
        asio::co_spawn(io, std::move(what), [](const std::exception_ptr& e) {
            if (e)
                std::rethrow_exception(e);
        });
        io.run();
    }
};

asio::awaitable<void> download(trial& t, std::chrono::seconds pause)
{
    constexpr std::uint64_t size = 2048 * mebibyte;
    const auto path = t.daemon.make_volume("volume", size);
    co_await t.connect();
    co_await t.make_pool();
    const avirt::volume_download volume{avirt::volume_locator::at_path(path.string())};
    co_await t.stream.async_open(t.connection, volume, use_awaitable);

    std::ifstream file(path, std::ios::binary);
    std::vector<char> buffer(mebibyte), expected(mebibyte);
    std::uint64_t total = 0;
    bool has_paused = false;
    const double before = peak_memory();
    for (;;) {
        avirt::error_code ec;
        const auto n =
            co_await t.stream.async_read_some(asio::buffer(buffer), asio::redirect_error(use_awaitable, ec));
        if (ec == asio::error::eof)
            break;
        if (ec)
            throw boost::system::system_error(ec, "read");
        file.read(expected.data(), static_cast<std::streamsize>(n));
        require(
            std::equal(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n), expected.begin()),
            "the content differs");
        total += n;
        if (total > size / 2 && !has_paused) {
            has_paused = true;
            asio::steady_timer timer(t.io, pause);
            co_await timer.async_wait(use_awaitable);
        }
    }
    const double grown = peak_memory() - before;
    std::printf(
        "download: %llu bytes, identical to the volume; peak memory %.1f MiB above the start\n",
        static_cast<unsigned long long>(total), grown);
    require(total == size, "bytes are missing");
    require(grown <= 16, "memory grew by more than 16 MiB");
    co_await t.stream.async_finish(use_awaitable);
    co_await t.connection.async_close(use_awaitable);
}

asio::awaitable<void> sparse(trial& t, std::chrono::seconds pause)
{
    constexpr std::uint64_t hole = std::uint64_t{1} << 40;
    constexpr std::uint64_t data = mebibyte;
    const auto path = t.daemon.make_volume("volume", data);
    std::filesystem::resize_file(path, data + hole);
    co_await t.connect();
    co_await t.make_pool();
    avirt::volume_download volume{avirt::volume_locator::at_path(path.string())};
    volume.sparse = true;
    co_await t.stream.async_open(t.connection, volume, use_awaitable);

    std::vector<char> buffer(data);
    const double before = peak_memory();
    heartbeat pulse(t.io);
    for (std::uint64_t total = 0; total < data;)
        total += co_await t.stream.async_read_some(asio::buffer(buffer), use_awaitable);
    asio::steady_timer timer(t.io, pause);
    co_await timer.async_wait(use_awaitable);
    const auto zeros = co_await t.stream.async_read_some(asio::buffer(buffer), use_awaitable);
    pulse.stop();
    const double grown = peak_memory() - before;
    std::printf(
        "sparse: the reader paused for %lld s before a hole of 1 TiB; peak memory %.1f MiB above the start; "
        "a 1 ms timer was late by at most %.1f ms\n",
        static_cast<long long>(pause.count()), grown, pulse.latest() * 1e3);
    require(zeros != 0, "no zeros were read from the hole");
    require(grown <= 16, "memory grew by more than 16 MiB");
    require(pulse.latest() < 0.5, "the timer was late by half a second or more");
    co_await t.stream.async_abort(use_awaitable);
    co_await t.connection.async_close(use_awaitable);
}

asio::awaitable<void> upload(trial& t)
{
    constexpr std::uint64_t size = 1024 * mebibyte;
    constexpr int stops = 3;
    const auto path = t.daemon.make_volume("volume", 0);
    co_await t.connect();
    co_await t.make_pool();
    const avirt::volume_upload volume{avirt::volume_locator::at_path(path.string())};
    co_await t.stream.async_open(t.connection, volume, use_awaitable);

    std::vector<std::uint64_t> words(mebibyte / sizeof(std::uint64_t));
    std::mt19937_64 random;
    asio::steady_timer thaw(t.io);
    heartbeat pulse(t.io);
    for (std::uint64_t total = 0; total < size; total += mebibyte) {
        if (total != 0 && total % (size / (stops + 1)) == 0) {
            t.daemon.freeze();
            thaw.expires_after(seconds(1));
            thaw.async_wait([&t](avirt::error_code) { t.daemon.thaw(); });
        }
        std::generate(words.begin(), words.end(), random);
        for (auto rest = asio::buffer(words); rest.size() != 0;)
            rest += co_await t.stream.async_write_some(rest, use_awaitable);
    }
    co_await t.stream.async_finish(use_awaitable);
    pulse.stop();
    co_await t.connection.async_close(use_awaitable);

    std::ifstream file(path, std::ios::binary);
    std::vector<std::uint64_t> read(words.size());
    random.seed();
    for (std::uint64_t total = 0; total < size; total += mebibyte) {
        file.read(reinterpret_cast<char*>(read.data()), static_cast<std::streamsize>(mebibyte));
        std::generate(words.begin(), words.end(), random);
        require(file && read == words, "the content differs");
    }
    require(file.peek() == std::ifstream::traits_type::eof(), "the volume is too long");
    std::printf(
        "upload: %llu bytes, identical to the volume; the daemon was stopped %d times for a second; a 1 ms "
        "timer was late by at most %.1f ms\n",
        static_cast<unsigned long long>(size), stops, pulse.latest() * 1e3);
    require(pulse.latest() < 0.5, "the timer was late by half a second or more");
}

asio::awaitable<void> define(trial& t, const std::string& name)
{
    const auto define = [xml = t.daemon.guest_xml(name, avirt_demo_guest)](virConnectPtr c) {
        return avirt::domain(virDomainDefineXML(c, xml.c_str()));
    };
    co_await t.connection.async_call(define, use_awaitable);
}

asio::awaitable<void> absence(trial& t, std::chrono::seconds duration)
{
    asio::steady_timer timer(t.io);
    const auto sleep = [&timer](clock_type::duration d) {
        timer.expires_after(d);
        return timer.async_wait(use_awaitable);
    };
    co_await t.connect();
    co_await define(t, "stays");
    co_await define(t, "goes");

    avirt::supervision_options options;
    options.open.uri = t.daemon.uri();
    avirt::supervised_connection host{t.io, options};
    const auto first = co_await host.async_receive(use_awaitable);
    require(
        std::get<avirt::host_connected>(first).domains.size() == 2,
        "the first report does not list two domains");

    t.connection.close();
    t.daemon.leave(SIGKILL);
    while (!t.daemon.has_left())
        co_await sleep(std::chrono::milliseconds(10));
    std::filesystem::remove(t.daemon.directory() / ".config/libvirt/qemu/goes.xml");
    co_await sleep(duration);
    t.daemon.come_back();
    while (!t.daemon.is_up())
        co_await sleep(std::chrono::milliseconds(10));
    const auto up = clock_type::now();

    int tries = 0;
    auto report = co_await host.async_receive(use_awaitable);
    for (; std::holds_alternative<avirt::host_disconnected>(report); ++tries)
        report = co_await host.async_receive(use_awaitable);
    const double found = since(up);
    const auto& domains = std::get<avirt::host_connected>(report).domains;
    require(
        domains.size() == 1 && domains[0].name == "stays",
        "the report does not list exactly the domain that is left");
    co_await t.connect();
    co_await define(t, "comes");
    const auto change = co_await host.async_receive(use_awaitable);
    require(std::get<avirt::domain_changed>(change).status.name == "comes", "the new domain is not reported");
    std::printf(
        "absence: the daemon was away for %lld s, and found %.1f s after its return, after %d tries; all "
        "domains are known\n",
        static_cast<long long>(duration.count()), found, tries);
    host.close();
    co_await t.connection.async_close(use_awaitable);
}

asio::awaitable<void> chosen(trial& t, const std::string& what, int time)
{
    if (what == "absence")
        return absence(t, seconds(time ? time : 60));
    if (what == "sparse")
        return sparse(t, seconds(time ? time : 60));
    return what == "upload" ? upload(t) : download(t, seconds(time ? time : 90));
}

} // namespace

int main(int argc, char* argv[])
try {
    const std::string what = argc > 1 ? argv[1] : "";
    const int time = argc > 2 ? std::atoi(argv[2]) : 0;
    const bool is_timed = what == "download" || what == "sparse" || what == "absence";
    if (argc > 3 || (argc > 2 && time <= 0) || (!is_timed && (what != "upload" || argc > 2))) {
        std::fprintf(
            stderr,
            "usage: %s download [SECONDS]\n       %s sparse [SECONDS]\n       %s upload\n       %s absence "
            "[SECONDS]\n",
            argv[0], argv[0], argv[0], argv[0]);
        return 2;
    }
    trial t;
    t.run(chosen(t, what, time));
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
