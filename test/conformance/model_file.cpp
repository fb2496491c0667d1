// SPDX-License-Identifier: BSL-1.0
#include "model_file.hpp"

#include "harness.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace conformance {
namespace {

// Above the numbers of files that are opened meanwhile, so that the next file gets the number of a closed
// one.
constexpr int first_number_of_duplicates = 512;

constexpr std::uint64_t full_counter = 0xfffffffffffffffe;

// Fds are closed and opened here while the loop uses them. ThreadSanitizer takes that for a race if it sees
// the functions that do it: hence the system calls.
void close_unseen(file& f) noexcept
{
    if (f.get() >= 0)
        ::syscall(SYS_close, f.release());
}

int opened(long result)
{
    if (result < 0)
        throw std::system_error{errno, std::generic_category(), "opening a file of the model"};
    return static_cast<int>(result);
}

pipe_ends open_pipe()
{
    int ends[2] = {};
    opened(::syscall(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK));
    return {file{ends[0]}, file{ends[1]}};
}

socket_ends open_socket_pair()
{
    int ends[2] = {};
    opened(::syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
    return {file{ends[0]}, file{ends[1]}};
}

file open_counter()
{
    return file{opened(::syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK))};
}

void write_counter(int fd, std::uint64_t value)
{
    [[maybe_unused]] const auto n = ::write(fd, &value, sizeof value);
}

void read_all(int fd)
{
    char bytes[65536];
    while (::read(fd, bytes, sizeof bytes) > 0)
        ;
}

} // namespace

model_file::model_file(kind k) : kind_{k}
{
    switch (k) {
    case kind::pipe_reader: {
        auto ends = open_pipe();
        ours_ = std::move(ends.reader);
        peer_ = std::move(ends.writer);
        break;
    }
    case kind::pipe_writer: {
        auto ends = open_pipe();
        ours_ = std::move(ends.writer);
        peer_ = std::move(ends.reader);
        possible_ = writable;
        break;
    }
    case kind::socket: {
        auto ends = open_socket_pair();
        ours_ = std::move(ends.ours);
        peer_ = std::move(ends.peer);
        possible_ = writable;
        break;
    }
    case kind::counter:
        ours_ = open_counter();
        possible_ = writable;
        break;
    case kind::regular:
        ours_ = make_regular_file("x");
        possible_ = readable | writable;
        break;
    }
    fd_ = ours_.get();
}

const char* model_file::name() const noexcept
{
    switch (kind_) {
    case kind::pipe_reader:
        return "the reading end of a pipe";
    case kind::pipe_writer:
        return "the writing end of a pipe";
    case kind::socket:
        return "a socket";
    case kind::counter:
        return "an eventfd";
    case kind::regular:
        return "a regular file";
    }
    return "";
}

int model_file::ready_for(int events) const
{
    const int ready = poll_now(fd_, events);
    // docs/libvirt.md, "Hang-up".
    if (is_avirt() && kind_ == kind::socket && (events & readable) != 0 && unread_bytes(fd_) > 0)
        return ready & ~(error | hangup);
    return ready;
}

void model_file::change(random_stream random)
{
    switch (random.below(10)) {
    case 0:
    case 1:
        return feed();
    case 2:
    case 3:
        return drain();
    case 4:
    case 5:
        return fill();
    case 6:
    case 7:
        return relieve();
    case 8:
        return end_peer();
    default:
        if (random.one_in(2)) // The hang-up must not overtake these bytes.
            feed();
        return close_peer();
    }
}

void model_file::feed()
{
    if (kind_ == kind::counter) {
        possible_ |= readable;
        write_counter(fd_, 1);
    }
    else if (peer_.get() >= 0 && kind_ != kind::pipe_writer) {
        possible_ |= readable;
        if (kind_ == kind::socket)
            ::send(peer_.get(), "some bytes", 10, MSG_NOSIGNAL);
        else [[maybe_unused]]
            const auto n = ::write(peer_.get(), "some bytes", 10);
    }
}

void model_file::drain()
{
    if (kind_ == kind::pipe_reader || kind_ == kind::socket || kind_ == kind::counter)
        read_all(fd_);
}

void model_file::fill()
{
    const char bytes[4096] = {};
    if (kind_ == kind::counter) {
        possible_ |= readable;
        read_all(fd_);
        write_counter(fd_, full_counter);
    }
    else if (kind_ == kind::socket)
        while (::send(fd_, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
            ;
    else if (kind_ == kind::pipe_writer && peer_.get() >= 0) // Without a reader, SIGPIPE would be raised.
        while (::write(fd_, bytes, sizeof bytes) > 0)
            ;
}

void model_file::relieve()
{
    if (peer_.get() >= 0 && kind_ != kind::pipe_reader)
        read_all(peer_.get());
}

void model_file::close_peer()
{
    if (peer_.get() < 0)
        return;
    possible_ |= error | hangup;
    if (kind_ == kind::socket)
        possible_ |= readable; // the end of the data
    close_unseen(peer_);
}

void model_file::end_peer()
{
    if (peer_.get() < 0 || kind_ != kind::socket)
        return;
    possible_ |= readable;
    ::shutdown(peer_.get(), SHUT_WR);
}

void model_file::close(ending how)
{
    // Without the duplicate, the next regular file would get the inode of this one.
    if (how == ending::lives_on || kind_ == kind::regular)
        duplicate_ = file{::fcntl(fd_, F_DUPFD_CLOEXEC, first_number_of_duplicates)};
    outlives_its_fd_ = how == ending::lives_on && kind_ != kind::regular;
    close_unseen(ours_);
}

} // namespace conformance
