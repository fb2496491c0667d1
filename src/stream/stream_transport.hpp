// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"

#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/buffer.hpp>
#include <libvirt/libvirt.h>

#include <functional>
#include <memory>
#include <mutex>

namespace avirt::detail {

class job_lane;

/// The operations that are outstanding on a stream, as its transport sees them.
class stream_operations
{
public:
    /// Held wherever the other members are called, and those of the transport.
    fork_safe_mutex& mutex() const noexcept
    {
        return mutex_;
    }

    /// Attempts again what was not possible before.
    virtual void retry_read() = 0;
    virtual void retry_write() = 0;
    /// What somebody waits for: VIR_STREAM_EVENT_READABLE, VIR_STREAM_EVENT_WRITABLE.
    virtual int awaited() const noexcept = 0;

protected:
    ~stream_operations() = default;

private:
    mutable fork_safe_mutex mutex_;
};

/// How the bytes of one open stream get to libvirt and back. Nothing blocks but finish() and dispose().
class stream_transport
{
public:
    stream_transport(const stream_transport&) = delete;
    stream_transport& operator=(const stream_transport&) = delete;
    virtual ~stream_transport() = default;

    virStreamPtr stream() const noexcept
    {
        return stream_;
    }

    /// Has libvirt report what happens to the stream.
    virtual failure listen() = 0;

    /// Whether there was something to receive, the end included.
    virtual bool try_receive(asio::mutable_buffer buffer, io_result& result) = 0;
    /// Whether something was sent, or never will be.
    virtual bool try_send(asio::const_buffer buffer, io_result& result) = 0;
    virtual bool is_ready(stream_wait_type type) = 0;
    /// Whether each send takes a worker thread.
    virtual bool sends_on_worker() const noexcept
    {
        return false;
    }

    /// Has the operations retried when that may have become possible.
    virtual void await(stream_wait_type type) = 0;
    /// The same for try_send() with this very buffer.
    virtual void await_send(asio::const_buffer buffer) = 0;
    /// Whether nothing of that buffer has been, or will be, sent.
    virtual bool cancel_send(bool at_any_cost) = 0;

    /// Frees a thread that is stuck in libvirt on this stream: at once if the connection is the stream's own,
    /// otherwise when the connection is not in use any more.
    virtual void interrupt() noexcept;
    /// Calls @p then once libvirt will not report anything any more, and nothing of it is under way.
    virtual void stop_listening(std::function<void()> then) = 0;
    /// Gives the stream away.
    virtual virStreamPtr release() = 0;

    /// Ends the stream by virStreamFinish or virStreamAbort. Blocks: for a worker thread, where nobody
    /// listens any more.
    failure finish(int (*function)(virStreamPtr), bool is_awaited);
    /// Drops what else belonged to the stream. Blocks, too.
    virtual void dispose() {}

protected:
    stream_transport(
        std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
        std::shared_ptr<connection_socket> socket)
        : operations_(std::move(operations)),
          stream_(stream),
          is_console_(is_console),
          socket_(std::move(socket)),
          use_(socket_)
    {
    }

    static constexpr int would_block = -2;

    /// Calls function(operations), locked, unless the stream is on its way out.
    template <class Function>
    void if_listening(Function function)
    {
        if (const auto operations = operations_.lock()) {
            const std::lock_guard guard(operations->mutex());
            if (is_listening_)
                function(*operations);
        }
    }

    /// What virStreamRecv has; 0: nothing now, or the end.
    std::size_t receive(asio::mutable_buffer buffer);
    /// The same, of what that function has returned.
    std::size_t received(int n);
    bool conclude_receive(io_result& result) const;
    /// The connection is lost, or will be: what libvirt has can still be received.
    void lose();
    void refuse_sends();
    failure explain(failure f) const;
    /// This is a forked child, and libvirt must not be called for the stream, which its parent's threads
    /// serve.
    bool is_parents() const noexcept;
    static failure parents_failure();

    const std::weak_ptr<stream_operations> operations_;
    virStreamPtr stream_;
    const bool is_console_;
    const std::shared_ptr<connection_socket> socket_; // null: not known, or in this process
    bool is_listening_ = true;
    bool is_lost_ = false;
    failure end_;          // of what can be received; libvirt repeats some errors, and forgets others
    failure send_failure_; // Nothing can be sent any more.

private:
    connection_use use_; // until the stream has ended, and no operation waits for that
    const unsigned generation_ = fork_gate::generation();
};

/// A stream whose connection serves it alone: it owns the connection.
std::shared_ptr<stream_transport> make_own_connection_transport(
    std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
    virConnectPtr connection, std::shared_ptr<connection_socket> socket);

/// A stream beside others on a connection, or in this process, which libvirt's stream callback tells about.
/// @p sends_block: whether virStreamSend may block in spite of VIR_STREAM_NONBLOCK; then that is done in the
/// lane.
std::shared_ptr<stream_transport> make_callback_transport(
    std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console, bool sends_block,
    std::shared_ptr<connection_socket> socket, std::shared_ptr<job_lane> lane);

} // namespace avirt::detail
