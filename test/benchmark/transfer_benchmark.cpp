// SPDX-License-Identifier: BSL-1.0

// Compares transfers between volumes and files through a private libvirtd in one run: avirt and virsh.
//
//   transfer_benchmark [ROUNDS [TITLE]]
//
// TITLE: only the comparisons whose titles contain this.
// Each transfer has a process of its own, which is measured from its start to its end. The two take turns,
// and the ratios are medians of pairs. Everything is in memory (/dev/shm), so that no disk is measured.

#include "apart.hpp"

#include <avirt/avirt.hpp>
#include <support/libvirtd.hpp>

#include <boost/asio/io_context.hpp>
#include <libvirt/libvirt.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using benchmark::median;
using clock_type = std::chrono::steady_clock;

constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr std::uint64_t dense_size = 1024 * mebibyte;
constexpr std::uint64_t sparse_size = 10 * 1024 * mebibyte;

/// What was measured of one process.
struct result
{
    double seconds = 0;
    double cpu = 0;
    double memory = 0; // peak, MiB
};

double seconds_of(const timeval& t)
{
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

/// Runs a function in a process of its own, which ends with the function's result.
result measure(const std::function<int()>& function)
{
    const auto start = clock_type::now();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::alarm(300);
        ::_exit(function());
    }
    int status = 0;
    rusage usage{};
    if (::wait4(pid, &status, 0, &usage) != pid || status != 0)
        throw std::runtime_error("a transfer has failed");
    return {
        std::chrono::duration<double>(clock_type::now() - start).count(),
        seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), static_cast<double>(usage.ru_maxrss) / 1024};
}

/// One transfer between a volume of the pool and a file.
struct transfer
{
    std::string uri;
    bool is_upload;
    std::string volume;
    fs::path file;
    bool sparse;
};

int with_avirt(const transfer& t)
{
    asio::io_context io{1};
    avirt::event_loop loop{io};
    avirt::connection conn{io};
    avirt::transfer_options options;
    options.sparse = t.sparse;
    int status = 1;
    avirt::error_details details;
    const auto done = avirt::with_details(
        [&](avirt::error_code ec, const avirt::progress&) {
            status = ec ? 1 : 0;
            if (ec)
                std::fprintf(stderr, "avirt: %s: %s\n", ec.message().c_str(), details.message.c_str());
            conn.close();
        },
        details);
    conn.async_open(t.uri, [&](avirt::error_code) {
        if (t.is_upload)
            avirt::async_upload(conn, t.file, {"pool", t.volume}, options, done);
        else
            avirt::async_download(conn, {"pool", t.volume}, t.file, options, done);
    });
    io.run();
    return status;
}

int with_virsh(const transfer& t)
{
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::execlp(
        "virsh", "virsh", "-c", t.uri.c_str(), t.is_upload ? "vol-upload" : "vol-download", "--pool", "pool",
        t.volume.c_str(), t.file.c_str(), t.sparse ? "--sparse" : nullptr, nullptr);
    return 127;
}

struct comparison
{
    const char* title;
    transfer what;
    std::uint64_t size;
};

/// Puts the volume and the file into the state in which a transfer begins.
void prepare(const transfer& t, const fs::path& volumes, std::uint64_t size)
{
    if (!t.is_upload) {
        fs::remove(t.file);
        return;
    }
    fs::resize_file(volumes / t.volume, 0); // Without data, so that holes may be sent.
    fs::resize_file(volumes / t.volume, size);
}

void compare(const comparison& c, const fs::path& volumes, int rounds)
{
    std::vector<double> seconds[2], cpu[2], memory[2], time_ratios, cpu_ratios;
    int (*const programs[])(const transfer&) = {with_avirt, with_virsh};
    for (int round = 0; round < rounds; ++round) {
        for (int i = 0; i < 2; ++i) {
            prepare(c.what, volumes, c.size);
            const auto r = measure([&] { return programs[i](c.what); });
            seconds[i].push_back(r.seconds);
            cpu[i].push_back(r.cpu);
            memory[i].push_back(r.memory);
        }
        time_ratios.push_back(seconds[0].back() / seconds[1].back());
        cpu_ratios.push_back(cpu[0].back() / cpu[1].back());
    }
    std::printf("\n%s\n  %-8s %8s %8s %8s %6s\n", c.title, "", "MiB/s", "s", "CPU s", "MiB");
    for (int i = 0; i < 2; ++i)
        std::printf(
            "  %-8s %8.0f %8.3f %8.3f %6.0f\n", i == 0 ? "avirt" : "virsh",
            static_cast<double>(c.size / mebibyte) / median(seconds[i]), median(seconds[i]), median(cpu[i]),
            median(memory[i]));
    std::printf("  avirt / virsh: throughput %.2f, CPU %.2f\n", 1 / median(time_ratios), median(cpu_ratios));
    std::fflush(stdout);
}

/// Makes a file with 20 MiB of data in five places.
void make_sparse(const fs::path& path)
{
    std::ofstream file(path, std::ios::binary | std::ios::in);
    const std::string data(4 * mebibyte, 'd');
    for (std::uint64_t i = 0; i < 5; ++i)
        file.seekp(static_cast<std::streamoff>(i * (sparse_size / 5))) << data;
    file.close();
    fs::resize_file(path, sparse_size);
}

void make_pool(const support::libvirtd& daemon)
{
    // In a child: this process must not use libvirt, because its children register event loops.
    const pid_t pid = ::fork();
    if (pid == 0) {
        virConnectPtr c = virConnectOpen(daemon.uri().c_str());
        ::_exit(c && virStoragePoolCreateXML(c, daemon.pool_xml().c_str(), 0) ? 0 : 1);
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
    const auto dense = daemon.make_volume("dense", dense_size);
    const auto volumes = dense.parent_path();
    make_sparse(daemon.make_volume("sparse", 0));
    daemon.make_volume("to", 0);
    make_pool(daemon);
    const auto uri = daemon.uri();
    const auto copy = daemon.directory() / "copy";
    const std::vector<comparison> comparisons{
        {"download, 1 GiB of data", {uri, false, "dense", copy, false}, dense_size},
        {"download, 1 GiB of data, holes as holes", {uri, false, "dense", copy, true}, dense_size},
        {"upload, 1 GiB of data", {uri, true, "to", dense, false}, dense_size},
        {"upload, 1 GiB of data, holes as holes", {uri, true, "to", dense, true}, dense_size},
        {"sparse download, 20 MiB of data in 10 GiB", {uri, false, "sparse", copy, true}, sparse_size},
        {"sparse upload, 20 MiB of data in 10 GiB", {uri, true, "to", volumes / "sparse", true}, sparse_size},
    };
    const std::string wanted = argc > 2 ? argv[2] : "";
    for (const auto& c : comparisons) {
        if (std::string(c.title).find(wanted) != std::string::npos)
            compare(c, volumes, rounds);
    }
}
catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
