// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace benchmark {

inline double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// A measurement in a process of its own, because libvirt accepts one event loop per process.
template <class Result>
class apart
{
    static_assert(std::is_trivially_copyable_v<Result>);

public:
    template <class F>
    apart(std::string name, F f) : name_(std::move(name))
    {
        int fds[2];
        if (::pipe(fds) != 0)
            throw std::runtime_error("pipe");
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(fds[0]);
            ::alarm(300);
            ::prctl(PR_SET_NAME, name_.c_str()); // The name that perf shows.
            int status = 1;
            try {
                const Result r = f();
                status = ::write(fds[1], &r, sizeof r) == sizeof r ? 0 : 1;
            }
            catch (const std::exception& e) {
                std::fprintf(stderr, "%s: %s\n", name_.c_str(), e.what());
            }
            ::_exit(status);
        }
        ::close(fds[1]);
        fd_ = fds[0];
    }
    apart(const apart&) = delete;
    apart& operator=(const apart&) = delete;

    ~apart()
    {
        ::close(fd_);
        if (pid_ > 0)
            ::waitpid(pid_, nullptr, 0);
    }

    pid_t pid() const noexcept
    {
        return pid_;
    }

    /// Waits until the measurement is done.
    Result result()
    {
        Result r;
        if (::read(fd_, &r, sizeof r) != sizeof r)
            throw std::runtime_error(name_ + " failed");
        return r;
    }

private:
    const std::string name_;
    int fd_ = -1;
    pid_t pid_ = -1;
};

} // namespace benchmark
