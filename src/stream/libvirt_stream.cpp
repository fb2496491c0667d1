// SPDX-License-Identifier: BSL-1.0
#include "stream/libvirt_stream.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <cerrno>
#include <limits>
#include <utility>

namespace avirt::detail {
namespace {

/// Whether the error says nothing about the stream itself: only that the connection is lost, or nothing.
bool is_only_about_connection(const error_details& d)
{
    return concerns_connection(d) || (d.domain == VIR_FROM_NONE && d.code == VIR_ERR_INTERNAL_ERROR);
}

/// Whether the driver in this process has aborted the stream: it is not open, or its file is being closed.
bool is_closed_by_libvirt(const error_details& d)
{
    return d.code == VIR_ERR_INTERNAL_ERROR || (d.code == VIR_ERR_SYSTEM_ERROR && d.int1 == EBADF);
}

} // namespace

libvirt_stream::libvirt_stream(
    virStreamPtr stream, bool is_console, std::shared_ptr<connection_socket> socket)
    : stream_(stream),
      is_console_(is_console),
      socket_(std::move(socket)),
      use_(socket_)
{
}

// The libvirt thread that serves a stream inside this process stays in the parent, and may hold the stream's
// lock at the fork (docs/libvirt.md, "Fork").
bool libvirt_stream::is_parents() const noexcept
{
    return !socket_ && generation_ != fork_gate::generation();
}

failure libvirt_stream::parents_failure()
{
    return describe_failure(
        VIR_FROM_STREAMS, "the stream belongs to the parent process", condition::connection_lost);
}

failure libvirt_stream::explain(failure f) const
{
    f = explain_by_socket(std::move(f), socket_);
    if (!is_console_ || f.details.domain != VIR_FROM_STREAMS)
        return f;
    // The daemon says no more than that to a stream that loses its console.
    if (f.details.code == VIR_ERR_RPC || (!socket_ && is_closed_by_libvirt(f.details)))
        return refine(std::move(f), condition::console_taken_over);
    // The errors of a terminal whose other side is gone: QEMU's side.
    if (f.details.code == VIR_ERR_SYSTEM_ERROR && (f.details.int1 == EIO || f.details.int1 == EPIPE))
        return refine(std::move(f), condition::guest_gone);
    return f;
}

failure libvirt_stream::receive_failure(int result) const
{
    return result == 0 ? failure(error_code(asio::error::eof)) : explain(last_failure());
}

failure libvirt_stream::hang_up_failure() const
{
    return is_console_
        ? describe_failure(VIR_FROM_STREAMS, "the guest has left its console", condition::guest_gone)
        : failure(error_code(asio::error::broken_pipe));
}

failure libvirt_stream::send_failure_after_loss() const
{
    // libvirt may know more than that the connection is lost: it gives up a connection on which an upload was
    // refused, for instance. A send fails at once now, and says why.
    constexpr char byte = 0;
    auto f = virStreamSend(stream_, &byte, 1) < 0 ? last_failure() : failure();
    return f && !is_only_about_connection(f.details) ? explain(std::move(f)) : lost_failure(*socket_);
}

failure libvirt_stream::add_hole(std::uint64_t length)
{
    constexpr std::uint64_t longest = std::numeric_limits<long long>::max();
    if (length > longest - unsent_hole_)
        return error_code(asio::error::invalid_argument);
    unsent_hole_ += length;
    return {};
}

failure libvirt_stream::send_noted_hole()
{
    const auto length = static_cast<long long>(unsent_hole_.exchange(0));
    return length != 0 && virStreamSendHole(stream_, length, 0) < 0 ? explain(last_failure()) : failure();
}

failure libvirt_stream::end(int (*function)(virStreamPtr), bool is_awaited)
{
    if (is_parents())
        return parents_failure();
    // In a forked child, a thread that the parent alone has may hold the lock.
    std::unique_lock no_sends(sending_, std::defer_lock);
    if (generation_ == fork_gate::generation())
        no_sends.lock();
    const bool aborts = function == &virStreamAbort;
    if (aborts || !is_awaited)
        use_.end();
    const daemon_wait work(socket_);
    auto f = aborts ? failure() : send_noted_hole();
    if (f)
        virStreamAbort(stream_);
    else if (function(stream_) < 0)
        f = explain(last_failure());
    if (aborts && socket_ && socket_->ended_by == connection_socket::end::interrupted)
        f = {}; // A stream that was cut off has ended, too.
    const bool is_lost = socket_ && socket_->fd < 0;
    if (f && is_lost && function == &virStreamFinish && is_only_about_connection(f.details))
        f.code = error::result_unknown;
    virStreamFree(stream_);
    use_.end();
    return f;
}

void libvirt_stream::end_use() noexcept
{
    use_.end();
}

} // namespace avirt::detail
