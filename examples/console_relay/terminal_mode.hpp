// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cerrno>
#include <csignal>
#include <system_error>

#include <termios.h>

/// Saves a terminal's mode, and restores it on request.
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
        // Otherwise SIGTTOU would stop a process in the background.
        const auto old = std::signal(SIGTTOU, SIG_IGN);
        ::tcsetattr(fd_, TCSANOW, &mode_);
        std::signal(SIGTTOU, old);
    }

private:
    int fd_;
    termios mode_{};
};
