// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cerrno>
#include <csignal>
#include <system_error>

#include <termios.h>

/// A terminal's mode as it was.
class terminal_mode
{
public:
    explicit terminal_mode(int fd) : fd_(fd)
    {
        if (::tcgetattr(fd_, &mode_))
            throw std::system_error(errno, std::generic_category(), "The terminal's mode cannot be read");
    }

    const termios& mode() const noexcept
    {
        return mode_;
    }

    void restore() const noexcept
    {
        // A process in the background would be stopped for it.
        const auto old = std::signal(SIGTTOU, SIG_IGN);
        ::tcsetattr(fd_, TCSANOW, &mode_);
        std::signal(SIGTTOU, old);
    }

private:
    int fd_;
    termios mode_{};
};
