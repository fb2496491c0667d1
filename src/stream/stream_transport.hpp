// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "stream/libvirt_stream.hpp"
#include "stream/waiting_operations.hpp"

#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/buffer.hpp>
#include <libvirt/libvirt.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace avirt::detail {

/// Carries the bytes of one open stream to libvirt and back. No function blocks, except dispose(). All of
/// them are called with the lock of the stream held, except dispose().
class stream_transport
{
public:
    stream_transport(const stream_transport&) = delete;
    stream_transport& operator=(const stream_transport&) = delete;
    virtual ~stream_transport() = default;

    libvirt_stream& stream() noexcept
    {
        return stream_;
    }

    /// Starts to follow what libvirt reports about the stream.
    virtual failure listen() = 0;
    /// Calls @p then once libvirt will not report anything any more, and no report is under way: at once,
    /// with the lock held, or later without it.
    virtual void stop_listening(std::function<void()> then) = 0;
    /// Gives libvirt's stream to the caller.
    virtual virStreamPtr release() = 0;

    /// Returns false if there was nothing to receive; the end of the stream counts as something.
    virtual bool try_receive(const mutable_buffer_list& buffers, io_result& result) = 0;
    /// From now on, a receive stops at a hole with error::at_hole, instead of making zeros of it.
    virtual void stop_at_holes(bool stops) noexcept = 0;
    /// Receives the length of the hole that comes next, 0 if data comes next. Returns false if it is not
    /// known what comes next; the end of the stream counts as something.
    virtual bool try_receive_hole(hole_result& result) = 0;
    /// Lets a hole follow what was sent. A daemon is told of it with the next send, or with the end of the
    /// stream, because older ones stop at two holes in a row (docs/libvirt.md, "Holes").
    virtual failure send_hole(std::uint64_t length) = 0;
    /// Returns false if nothing was sent, and something may be sent later.
    virtual bool try_send(const const_buffer_list& buffers, io_result& result) = 0;
    /// Returns whether each send takes a worker thread; try_send() sends nothing then.
    virtual bool sends_on_worker() const noexcept = 0;
    /// Returns whether a wait of this type is over.
    virtual bool is_ready(stream_wait_type type) = 0;

    /// Makes the transport retry the waiting operations of this type when they may have become possible.
    virtual void retry_when_ready(stream_wait_type type) = 0;
    /// Makes the transport complete or retry the pending write, which writes from @p buffers.
    virtual void send_when_possible(const const_buffer_list& buffers) = 0;
    /// Gives the pending write up. Returns false if its bytes were, or may be, sent.
    /// @param at_any_cost Gives the write up in any case, if need be at the cost of the connection.
    virtual bool cancel_send(bool at_any_cost) = 0;
    /// Gives the pending write up because the stream ends. A send that has begun may return in peace, unless
    /// that takes more than a second: then it costs the connection.
    virtual void leave_send() = 0;

    /// Frees a thread that is stuck in libvirt on this stream: at once if the connection is the stream's own,
    /// otherwise when the connection is not in use any more.
    virtual void interrupt() noexcept = 0;
    /// Drops what else belonged to the stream, after the stream has ended. Blocks.
    virtual void dispose() {}

protected:
    stream_transport(
        std::weak_ptr<waiting_operations> operations, virStreamPtr stream, bool is_console,
        std::shared_ptr<connection_socket> socket)
        : operations_(std::move(operations)),
          stream_(stream, is_console, std::move(socket))
    {
    }

    /// Calls function(operations) with the lock held, unless the stream is about to end.
    template <class Function>
    void if_listening(Function function)
    {
        if (const auto operations = operations_.lock()) {
            const std::lock_guard guard(operations->mutex());
            if (is_listening_)
                function(*operations);
        }
    }

    const std::weak_ptr<waiting_operations> operations_;
    libvirt_stream stream_;
    bool is_listening_ = true;
};

} // namespace avirt::detail
