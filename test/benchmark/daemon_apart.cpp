// SPDX-License-Identifier: BSL-1.0
#include "daemon_apart.hpp"

#include <support/fake_libvirtd.hpp>

#include <csignal>
#include <stdexcept>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace benchmark {
namespace {

/// Runs the daemon until SIGTERM arrives, so that its directory is removed, also if the parent is killed.
void run_daemon(int announce, const std::function<void(support::fake_libvirtd&)>& set_up)
{
    sigset_t termination;
    ::sigemptyset(&termination);
    ::sigaddset(&termination, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &termination, nullptr); // for the daemon's threads as well
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    support::fake_libvirtd daemon(support::fake_libvirtd::registration_script{});
    set_up(daemon);
    const auto uri = daemon.uri();
    if (::write(announce, uri.data(), uri.size()) < 0)
        return;
    ::close(announce);
    int number = 0;
    ::sigwait(&termination, &number);
}

} // namespace

daemon_apart::daemon_apart(const std::function<void(support::fake_libvirtd&)>& set_up)
{
    int fds[2];
    if (::pipe(fds) != 0)
        throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
        ::close(fds[0]);
        try {
            run_daemon(fds[1], set_up);
        }
        catch (const std::exception&) {
            ::_exit(1); // The parent finds that no URI was written.
        }
        ::_exit(0);
    }
    ::close(fds[1]);
    char uri[256];
    const auto size = ::read(fds[0], uri, sizeof uri);
    ::close(fds[0]);
    if (size <= 0)
        throw std::runtime_error("the fake daemon cannot be started");
    uri_.assign(uri, static_cast<std::size_t>(size));
}

daemon_apart::~daemon_apart()
{
    ::kill(pid_, SIGTERM);
    ::kill(pid_, SIGCONT);
    ::waitpid(pid_, nullptr, 0);
}

void daemon_apart::stop() const
{
    ::kill(pid_, SIGSTOP);
}

} // namespace benchmark
