// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace conformance {

/// An open file, which the destructor closes.
class file
{
public:
    file() noexcept = default;
    explicit file(int fd) noexcept : fd_{fd} {}
    file(file&& other) noexcept : fd_{other.release()} {}
    file& operator=(file&& other) noexcept;
    ~file()
    {
        close();
    }

    int get() const noexcept
    {
        return fd_;
    }
    int release() noexcept;
    void close() noexcept;

private:
    int fd_ = -1;
};

struct pipe_ends
{
    file reader;
    file writer;
};

struct socket_ends
{
    file ours;
    file peer;
};

// All of these files are blocking, because a loop must not set a flag on them.
pipe_ends make_pipe();
socket_ends make_socket_pair();
socket_ends make_tcp_pair();
socket_ends make_pty(); // ours: the master
file make_event_counter(unsigned value);
file make_regular_file(std::string_view content);
file open_null();

/// Opens a pipe whose reading end gets the number `fd`, which must be free.
pipe_ends make_pipe_at(int fd);

void put(int fd, std::string_view bytes);
// Reads what is there, at most `most` bytes, without blocking.
std::string take(int fd, std::size_t most);
int unread_bytes(int fd);
int poll_now(int fd, int events); // what poll(2) reports now, in libvirt's bits
int status_flags(int fd);
bool in_an_epoll_set(int fd); // whether any epoll set of this process has an entry for this fd

} // namespace conformance
