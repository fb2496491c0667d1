// SPDX-License-Identifier: BSL-1.0
#include "guardian.hpp"
#include "terminal_mode.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void kill_children()
{
    const auto self = std::to_string(::getpid());
    std::ifstream children("/proc/" + self + "/task/" + self + "/children");
    for (pid_t child; children >> child;)
        ::kill(child, SIGKILL);
}

} // namespace

int run_guarded(const std::function<int()>& work)
{
    // Blocked signals stay pending until sigwaitinfo() takes them.
    sigset_t signals;
    sigset_t before;
    ::sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM})
        ::sigaddset(&signals, signal);
    ::sigprocmask(SIG_BLOCK, &signals, &before);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);

    std::optional<terminal_mode> mode;
    if (::isatty(STDIN_FILENO))
        mode.emplace(STDIN_FILENO);
    const auto parent = ::getpid();
    const auto child = ::fork();
    if (child < 0)
        throw std::system_error(errno, std::generic_category(), "Cannot start a process");
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != parent)
            std::_Exit(EXIT_FAILURE);
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        std::exit(work());
    }

    int status = 0;
    for (bool has_ended = false; !has_ended;) {
        siginfo_t signal{};
        ::sigwaitinfo(&signals, &signal);
        // A terminal's signals reach the child anyway.
        if (signal.si_signo != SIGCHLD && signal.si_code <= 0)
            ::kill(child, signal.si_signo);
        int of_any = 0;
        for (pid_t ended = 0; (ended = ::waitpid(-1, &of_any, WNOHANG)) > 0;) {
            if (ended == child) {
                has_ended = true;
                status = of_any;
            }
        }
    }
    // A child that was killed could not restore the mode. In the background, others use the terminal.
    const auto in_foreground = ::tcgetpgrp(STDIN_FILENO);
    if (mode && WIFSIGNALED(status) && (in_foreground < 0 || in_foreground == ::getpgrp()))
        mode->restore();
    int ignored = 0;
    do
        kill_children();
    while (::waitpid(-1, &ignored, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
