// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <string>

#include <sys/types.h>

namespace support {
class fake_libvirtd;
}

namespace benchmark {

/// A fake daemon in a process of its own, so that its memory and its threads are not measured.
class daemon_apart
{
public:
    /// @param set_up is called with the daemon, in its process.
    explicit daemon_apart(const std::function<void(support::fake_libvirtd&)>& set_up);
    ~daemon_apart();
    daemon_apart(const daemon_apart&) = delete;
    daemon_apart& operator=(const daemon_apart&) = delete;

    const std::string& uri() const noexcept
    {
        return uri_;
    }

    /// SIGSTOP: clients can connect, but it answers none from now on.
    void stop() const;

private:
    pid_t pid_ = -1;
    std::string uri_;
};

} // namespace benchmark
