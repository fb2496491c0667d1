// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <unistd.h>

#include <utility>

namespace avirt::detail {

class unique_fd
{
public:
    unique_fd() noexcept = default;

    explicit unique_fd(int fd) noexcept : fd_(fd) {}

    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

    unique_fd& operator=(unique_fd&& other) noexcept
    {
        unique_fd(std::move(other)).swap(*this);
        return *this;
    }

    ~unique_fd()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }

    void swap(unique_fd& other) noexcept
    {
        std::swap(fd_, other.fd_);
    }

    int get() const noexcept
    {
        return fd_;
    }

    explicit operator bool() const noexcept
    {
        return fd_ >= 0;
    }

private:
    int fd_ = -1;
};

} // namespace avirt::detail
