// SPDX-License-Identifier: BSL-1.0
#include "process_figures.hpp"

#include <support/resident_bytes.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include <malloc.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace {

std::atomic<unsigned long> returns_of_epoll_wait{0};

/// Returns the number that follows the name in a file such as /proc/self/status; 0 if there is none.
long number_after(const std::filesystem::path& status, const std::string& name)
{
    std::ifstream file(status);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(name))
            return std::stol(line.substr(name.size()));
    }
    return 0; // A thread may have ended.
}

} // namespace

// Replaces the function of the C library, which Asio and avirt call.
extern "C" int epoll_wait(int fd, epoll_event* events, int size, int timeout)
{
    const int result = ::epoll_pwait(fd, events, size, timeout, nullptr);
    returns_of_epoll_wait.fetch_add(1, std::memory_order_relaxed);
    return result;
}

namespace benchmark {

memory present_memory()
{
    const auto heap = ::mallinfo2();
    return {static_cast<double>(heap.uordblks + heap.hblkhd), static_cast<double>(support::resident_bytes())};
}

int threads()
{
    return static_cast<int>(number_after("/proc/self/status", "Threads:"));
}

wake_ups present_wake_ups()
{
    wake_ups result;
    result.returns_of_epoll_wait = static_cast<double>(returns_of_epoll_wait.load());
    const auto self = std::to_string(::gettid());
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
        if (thread.path().filename() != self)
            result.voluntary_switches +=
                static_cast<double>(number_after(thread.path() / "status", "voluntary_ctxt_switches:"));
    }
    return result;
}

} // namespace benchmark
