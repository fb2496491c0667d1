// SPDX-License-Identifier: BSL-1.0

// How the loop affects its process: signals, libvirt's error printing, files.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <libvirt/virterror.h>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <set>

namespace conformance {
namespace {

namespace asio = boost::asio;

constexpr int writable = VIR_EVENT_HANDLE_WRITABLE;

auto sigpipe_action()
{
    struct sigaction action = {};
    ::sigaction(SIGPIPE, nullptr, &action);
    return action.sa_handler;
}

void own_handler(int) {}

void make_libvirt_fail()
{
    expect(virConnectOpen("nosuch:///system") == nullptr, "the connection was opened");
}

std::set<int> open_numbers()
{
    std::set<int> numbers;
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
        numbers.insert(std::stoi(entry.path().filename().string()));
    return numbers;
}

} // namespace

BOOST_AUTO_TEST_SUITE(
    lifecycle_process,
    *boost::unit_test::description(
        "How the loop affects its process: signals, libvirt's error printing, files."))

BOOST_AUTO_TEST_CASE(sigpipe_is_ignored)
{
    expect_success([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        expect(sigpipe_action() == SIG_IGN, "not ignored");
        auto ends = make_pipe();
        ends.reader.close();
        expect(::write(ends.writer.get(), "x", 1) == -1, "the write succeeded");
    });
}

BOOST_AUTO_TEST_CASE(sigpipe_is_left_alone_if_the_option_is_off)
{
    expect_success([] {
        asio::io_context io;
        avirt::event_loop_options options;
        options.ignore_sigpipe = false;
        const avirt::event_loop loop{io, options};
        expect(sigpipe_action() == SIG_DFL, "changed");
    });
}

BOOST_AUTO_TEST_CASE(the_applications_sigpipe_handler_stays)
{
    expect_success([] {
        std::signal(SIGPIPE, own_handler);
        asio::io_context io;
        const avirt::event_loop loop{io};
        expect(sigpipe_action() == own_handler, "changed");
    });
}

BOOST_AUTO_TEST_CASE(libvirt_prints_no_errors)
{
    expect_success([] {
        asio::io_context io;
        const avirt::event_loop loop{io};
        make_libvirt_fail();
    });
}

BOOST_AUTO_TEST_CASE(libvirt_prints_errors_if_the_option_is_off)
{
    const auto result = run_in_child([] {
        asio::io_context io;
        avirt::event_loop_options options;
        options.silence_libvirt = false;
        const avirt::event_loop loop{io, options};
        make_libvirt_fail();
    });
    BOOST_TEST(result.exit_code == 0);
    BOOST_TEST(!result.errors.empty());
}

BOOST_AUTO_TEST_CASE(the_applications_error_handler_stays)
{
    expect_success([] {
        static int reported = 0;
        std::optional<avirt::event_loop> loop;
        asio::io_context io;
        loop.emplace(io);
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) { ++reported; });
        loop.reset();
        loop.emplace(io);
        make_libvirt_fail();
        expect(reported > 0, "not called");
        loop.reset();
    });
}

BOOST_AUTO_TEST_CASE(avirts_threads_block_all_signals)
{
    expect_success([] {
        probe timer;
        std::atomic<bool> blocked{true};
        timer.when_freed([&] {
            sigset_t mask;
            ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
            for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGALRM, SIGWINCH})
                if (::sigismember(&mask, number) != 1)
                    blocked = false;
        });
        {
            asio::io_context io;
            const avirt::event_loop loop{io};
            timer.timer(-1);
        }
        timer.remove();
        expect_eventually([&] { return timer.frees() == 1; }, "not freed");
        expect(blocked, "a signal is not blocked");
        sigset_t mask;
        ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
        expect(::sigismember(&mask, SIGINT) == 0, "the application's thread has been changed");
    });
}

BOOST_AUTO_TEST_CASE(all_files_are_closed_on_exec)
{
    expect_success([] {
        const auto before = open_numbers();
        const auto ends = make_pipe();
        asio::io_context io;
        const avirt::event_loop loop{io};
        probe watch;
        probe timer;
        watch.watch(ends.writer.get(), writable);
        timer.timer(1);
        run_until_called(io, watch, timer);
        for (const int number : open_numbers()) {
            const int flags = before.contains(number) ? -1 : ::fcntl(number, F_GETFD);
            expect(flags == -1 || (flags & FD_CLOEXEC) != 0, "a file is inherited");
        }
        watch.remove();
        timer.remove();
        io.run();
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
