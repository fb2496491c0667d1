// SPDX-License-Identifier: BSL-1.0
#include "cost.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <stdexcept>

namespace {

std::atomic<std::size_t> allocated{0};

} // namespace

// Replaces functions of glibc's allocator one by one, as glibc allows: all allocations, those of operator new
// and of C libraries included, go through the functions below.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t size);
extern "C" void* __libc_calloc(std::size_t count, std::size_t size);

extern "C" void* malloc(std::size_t size) noexcept
{
    allocated.fetch_add(1, std::memory_order_relaxed);
    return __libc_malloc(size);
}

extern "C" void* calloc(std::size_t count, std::size_t size) noexcept
{
    allocated.fetch_add(1, std::memory_order_relaxed);
    return __libc_calloc(count, size);
}

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept
{
    allocated.fetch_add(1, std::memory_order_relaxed);
    return __libc_memalign(alignment, size);
}

namespace benchmark {

std::size_t allocations() noexcept
{
    return allocated.load(std::memory_order_relaxed);
}

void be_traced()
{
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)
        throw std::runtime_error("ptrace is not allowed here");
    std::raise(SIGSTOP);
}

void mark() noexcept
{
    ::syscall(SYS_getppid);
}

namespace {

void on_alarm(int) {}

/// Lets all threads of the child run until it has ended, or until a signal interrupts this process. Calls f
/// with the number of each system call.
template <class F>
void follow(pid_t child, F f)
{
    int status = 0;
    for (pid_t thread; (thread = ::waitpid(-1, &status, __WALL)) > 0;) {
        if (!WIFSTOPPED(status)) {
            if (thread == child)
                return;
            continue;
        }
        int signal = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            __ptrace_syscall_info info{};
            ::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                f(static_cast<long>(info.entry.nr));
        }
        else if (WSTOPSIG(status) == SIGSTOP) {
            constexpr int options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE;
            ::ptrace(PTRACE_SETOPTIONS, thread, nullptr, options);
        }
        else if (WSTOPSIG(status) != SIGTRAP) {
            signal = WSTOPSIG(status);
        }
        ::ptrace(PTRACE_SYSCALL, thread, nullptr, signal);
    }
}

} // namespace

std::size_t count_system_calls(pid_t child)
{
    std::size_t count = 0;
    int marks = 0;
    follow(child, [&](long number) {
        if (number == SYS_getppid)
            ++marks;
        else if (marks == 1)
            ++count;
    });
    if (marks != 2)
        throw std::runtime_error("the child did not make its two marks");
    return count;
}

std::size_t count_system_calls_within(pid_t child, unsigned seconds)
{
    struct sigaction action = {};
    action.sa_handler = on_alarm; // Without SA_RESTART, so that the signal interrupts waitpid().
    ::sigaction(SIGALRM, &action, nullptr);
    std::size_t count = 0;
    const auto one_more = [&](long) { ++count; };
    ::alarm(1); // Time for the child to set itself up.
    follow(child, one_more);
    if (count == 0)
        throw std::runtime_error("the child cannot be traced");
    count = 0;
    ::alarm(seconds);
    follow(child, one_more);
    ::kill(child, SIGKILL);
    return count;
}

} // namespace benchmark
