// SPDX-License-Identifier: BSL-1.0
#include "lifecycle_child.hpp"

#include "files.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>

namespace conformance {
namespace {

constexpr unsigned time_limit_in_seconds = 90;

std::string content_of(int fd)
{
    std::string text;
    char buffer[4096];
    for (off_t at = 0;;) {
        const auto n = ::pread(fd, buffer, sizeof buffer, at);
        if (n <= 0)
            return text;
        text.append(buffer, static_cast<std::size_t>(n));
        at += n;
    }
}

// The process that started the tests may have changed these settings.
void default_signals()
{
    for (const int number : {SIGPIPE, SIGALRM, SIGCHLD, SIGTERM, SIGABRT})
        std::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

int wait_status(int pid)
{
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            throw std::system_error{errno, std::generic_category(), "waitpid"};
    return status;
}

// Environment variables of a child: the number of the run_in_child() call in its case whose body it runs, and
// a file to which it writes when it gets there.
constexpr const char* which_body = "AVIRT_TEST_BODY";
constexpr const char* started_fd = "AVIRT_TEST_STARTED_FD";

[[noreturn]] void run_this_case_again(int number, int errors, int started)
{
    const auto filter = "--run_test=" + boost::unit_test::framework::current_test_case().full_name();
    ::setenv(which_body, std::to_string(number).c_str(), 1);
    ::setenv(started_fd, std::to_string(::dup(started)).c_str(), 1);
    if (const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0)
        ::dup2(null, STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
    default_signals();
    ::alarm(time_limit_in_seconds);
    // Boost.Test's result for the rest of the case does not matter.
    ::execl(
        "/proc/self/exe", "child", filter.c_str(), "--catch_system_errors=no", "--report_level=no",
        "--log_level=nothing", "--result_code=no", static_cast<char*>(nullptr));
    ::_exit(EXIT_FAILURE);
}

child_result run_in_new_process(int number)
{
    const file errors{::memfd_create("stderr", MFD_CLOEXEC)};
    const file started{::memfd_create("started", MFD_CLOEXEC)};
    std::fflush(nullptr);
    const auto pid = ::fork();
    if (errors.get() < 0 || started.get() < 0 || pid < 0)
        throw std::system_error{errno, std::generic_category(), "fork"};
    if (pid == 0)
        run_this_case_again(number, errors.get(), started.get());
    const int status = wait_status(pid);
    child_result result;
    if (WIFSIGNALED(status))
        result.signal = WTERMSIG(status);
    else if (!content_of(started.get()).empty())
        result.exit_code = WEXITSTATUS(status);
    result.errors = content_of(errors.get());
    return result;
}

void run_here(const std::function<void()>& body)
{
    const file started{std::stoi(std::getenv(started_fd))};
    ::unsetenv(which_body);
    put(started.get(), "x");
    try {
        body();
    }
    catch (const std::exception& e) {
        expect(false, e.what());
    }
}

} // namespace

child_result run_in_child(const std::function<void()>& body)
{
    static int calls = 0; // of this function, in the current case
    static boost::unit_test::test_unit_id latest = boost::unit_test::INV_TEST_UNIT_ID;
    static const char* const mine = std::getenv(which_body);
    static const int wanted = mine ? std::stoi(mine) : 0;
    const auto current = boost::unit_test::framework::current_test_case_id();
    calls = std::exchange(latest, current) == current ? calls + 1 : 1;
    if (wanted == 0)
        return run_in_new_process(calls);
    if (calls == wanted)
        run_here(body);
    return {};
}

void expect_success(const std::function<void()>& body)
{
    const auto result = run_in_child(body);
    BOOST_TEST(result.signal == 0);
    BOOST_TEST(result.exit_code == 0);
    BOOST_TEST(result.errors == "");
}

void expect(bool holds, const char* what, const boost::source_location& where)
{
    if (holds)
        return;
    std::fprintf(stderr, "%s:%u: %s\n", where.file_name(), static_cast<unsigned>(where.line()), what);
    std::fflush(stderr);
    ::_exit(EXIT_FAILURE);
}

void expect_eventually(
    const std::function<bool()>& condition, const char* what, const boost::source_location& where)
{
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!condition()) {
        expect(std::chrono::steady_clock::now() < limit, what, where);
        std::this_thread::yield();
    }
}

int wait_for(int pid)
{
    const int status = wait_status(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace conformance
