// SPDX-License-Identifier: BSL-1.0
#include "stream/stream_transport.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace avirt::detail {
namespace {

/// Whether libvirt says nothing of the stream itself: no more than that the connection is lost, or nothing.
bool blames_connection(const error_details& d)
{
    return concerns_connection(d) || (d.domain == VIR_FROM_NONE && d.code == VIR_ERR_INTERNAL_ERROR);
}

} // namespace

failure stream_transport::finish(int (*function)(virStreamPtr), bool is_awaited)
{
    if (is_parents())
        return parents_failure();
    const bool aborts = function == &virStreamAbort;
    if (aborts || !is_awaited)
        use_.end();
    const daemon_wait work(socket_);
    auto f = function(stream_) < 0 ? explain(last_failure()) : failure();
    if (aborts && socket_ && socket_->ended_by == connection_socket::end::interrupted)
        f = {}; // What is cut off has ended, too.
    const bool is_lost = socket_ && socket_->fd < 0;
    if (f && is_lost && function == &virStreamFinish && blames_connection(f.details))
        f.code = error::result_unknown;
    virStreamFree(stream_);
    use_.end();
    return f;
}

// A thread of libvirt's that serves a stream inside this process has stayed in the parent, and with it,
// perhaps, the stream's lock (docs/libvirt.md, "Fork").
bool stream_transport::is_parents() const noexcept
{
    return !socket_ && generation_ != fork_gate::generation();
}

failure stream_transport::parents_failure()
{
    return describe_failure(
        VIR_FROM_STREAMS, "the stream belongs to the parent process", condition::connection_lost);
}

void stream_transport::interrupt() noexcept
{
    use_.end();
}

std::size_t stream_transport::receive(asio::mutable_buffer buffer)
{
    const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
    return received(virStreamRecv(stream_, static_cast<char*>(buffer.data()), size));
}

std::size_t stream_transport::received(int n)
{
    if (n > 0)
        return static_cast<std::size_t>(n);
    if (n == 0)
        end_ = error_code(asio::error::eof);
    else if (n != would_block)
        end_ = explain(last_failure());
    else if (is_lost_)
        end_ = lost_failure(*socket_);
    return 0;
}

bool stream_transport::conclude_receive(io_result& result) const
{
    if (result.bytes == 0)
        result.ending = end_;
    return result.bytes != 0 || result.ending;
}

void stream_transport::lose()
{
    is_lost_ = true;
    // libvirt may know more: it gives a connection up on which an upload was refused, for instance. A send
    // fails at once now, and says why.
    constexpr char byte = 0;
    auto f = virStreamSend(stream_, &byte, 1) < 0 ? last_failure() : failure();
    send_failure_ = f && !blames_connection(f.details) ? explain(std::move(f)) : lost_failure(*socket_);
}

void stream_transport::refuse_sends()
{
    if (!send_failure_)
        send_failure_ = end_ && end_.code != asio::error::eof ? end_ : lost_failure(*socket_);
}

failure stream_transport::explain(failure f) const
{
    f = explain_by_socket(std::move(f), socket_);
    if (!is_console_ || f.details.domain != VIR_FROM_STREAMS)
        return f;
    // The daemon says no more than that to the stream that loses its console.
    if (f.details.code == VIR_ERR_RPC)
        return refine(std::move(f), condition::console_taken_over);
    // A terminal's error if its other side is gone: QEMU's.
    if (f.details.code == VIR_ERR_SYSTEM_ERROR && f.details.int1 == EIO)
        return refine(std::move(f), condition::guest_gone);
    return f;
}

} // namespace avirt::detail
