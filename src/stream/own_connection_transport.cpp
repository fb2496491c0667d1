// SPDX-License-Identifier: BSL-1.0
#include "core/release_queue.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/read_ahead.hpp"
#include "stream/stream_transport.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

namespace avirt::detail {
namespace {

/// What the daemon takes in one piece, and sends.
constexpr std::size_t largest_packet = 262120;

/// How much is taken out of libvirt at a time if no read waits for it.
constexpr std::size_t largest_read = 64 * 1024;

/// How much may have arrived, and not been read, before a write waits: each reads what comes in meanwhile.
constexpr std::size_t largest_read_ahead = 4 * 1024 * 1024;

/// There is no stream callback: whatever arrives on this connection is the stream's own, and what has
/// arrived is taken out of libvirt's queue after each dispatch of the connection's socket.
class own_connection_transport final : public stream_transport,
                                       public socket_observer,
                                       public std::enable_shared_from_this<own_connection_transport>
{
public:
    own_connection_transport(
        std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
        virConnectPtr connection, std::shared_ptr<connection_socket> socket)
        : stream_transport(std::move(operations), stream, is_console, std::move(socket)),
          connection_(connection)
    {
    }

    failure listen() override
    {
        socket_monitor::instance().observe(*socket_, std::weak_ptr<socket_observer>(shared_from_this()));
        if (socket_->fd < 0) // Before we were listening.
            lose();
        settle(); // What came along with the answer to the opener.
        return {};
    }

    bool try_receive(asio::mutable_buffer buffer, io_result& result) override
    {
        const bool was_full = is_full();
        const auto wanted = buffer.size();
        buffer += ahead_.take(buffer);
        while (buffer.size() != 0 && may_have_more_) {
            buffer += receive_up_to_hole(buffer);
            buffer += ahead_.take(buffer); // A hole.
        }
        result.bytes = wanted - buffer.size();
        control_flow();
        if (was_full && !is_full()) // A write may wait for it.
            await(stream_wait_type::write);
        return conclude_receive(result);
    }

    /// virStreamSend would block if the socket were full (docs/libvirt.md, "Sending"): no more than it takes.
    bool try_send(asio::const_buffer buffer, io_result& result) override
    {
        if (send_failure_) {
            result.ending = send_failure_;
            return true;
        }
        const auto room = is_full() ? 0 : room_to_send(*socket_, std::min(buffer.size(), largest_packet));
        if (room == 0)
            return false;
        drain();
        const int n =
            virStreamSend(stream_, static_cast<const char*>(buffer.data()), std::min(room, buffer.size()));
        if (n < 0)
            result.ending = explain(last_failure());
        else
            result.bytes = static_cast<std::size_t>(n);
        if (const auto operations = operations_.lock())
            take_in(*operations); // libvirt reads while it writes.
        return true;
    }

    bool is_ready(stream_wait_type type) override
    {
        if (type == stream_wait_type::write)
            return send_failure_ || (!is_full() && room_to_send(*socket_, 1) != 0);
        settle();
        return end_ || (type == stream_wait_type::read ? !ahead_.empty() : bool(send_failure_));
    }

    void await(stream_wait_type type) override
    {
        if (type == stream_wait_type::write && !is_full()) // See try_receive().
            socket_monitor::instance().await_writable(*socket_);
    }

    void await_send(asio::const_buffer) override
    {
        await(stream_wait_type::write);
    }

    bool cancel_send(bool) override
    {
        return true;
    }

    void interrupt() noexcept override
    {
        socket_monitor::instance().interrupt(*socket_);
    }

    void stop_listening(std::function<void()> then) override
    {
        is_listening_ = false;
        socket_monitor::instance().resume(*socket_);
        then();
    }

    virStreamPtr release() override
    {
        is_listening_ = false;
        socket_monitor::instance().resume(*socket_);
        close_deadline::instance().share(socket_);
        // The stream keeps its connection open.
        close_later(connection_);
        return stream_;
    }

    void dispose() override
    {
        close_now(connection_);
    }

    void on_sending() override
    {
        if_listening([this](auto&) { drain(); });
    }

    void on_served() override
    {
        if_listening([this](auto& operations) { take_in(operations); });
    }

    void on_writable() override
    {
        if_listening([](auto& operations) { operations.retry_write(); });
    }

    void on_hung_up() override
    {
        if_listening([this](auto& operations) {
            if (!is_paused_) // libvirt reads on, and finds what came before the end.
                return;
            refuse_sends();
            operations.retry_read();
            operations.retry_write();
        });
    }

    void on_lost() override
    {
        if_listening([this](auto& operations) {
            lose();
            take_in(operations);
            operations.retry_write();
        });
    }

private:
    void take_in(stream_operations& operations)
    {
        may_have_more_ = !end_; // Once is for ever: libvirt repeats some errors, and forgets others.
        operations.retry_read();
        settle();
    }

    /// Finds out whether libvirt's queue is empty, by the one way there is: taking a byte.
    void settle()
    {
        if (ahead_.empty() && !end_ && may_have_more_)
            read_ahead_of_reader(1);
        control_flow();
    }

    /// Takes out of libvirt's queue all that it has, before it sends: it reads while it does, and an error
    /// that it reads takes the place of what is queued. That is no more than it has read with the latest
    /// send, and a hole is only a length.
    void drain()
    {
        while (may_have_more_ && !end_)
            read_ahead_of_reader(largest_read);
        control_flow();
    }

    void read_ahead_of_reader(std::size_t size)
    {
        std::array<char, largest_read> bytes;
        ahead_.append({bytes.data(), receive_up_to_hole(asio::buffer(bytes, size))});
    }

    /// What virStreamRecv has, up to the next hole, which would go on as zeros to its end: it goes to what
    /// has been read ahead.
    std::size_t receive_up_to_hole(asio::mutable_buffer buffer)
    {
        constexpr int at_hole = -3;
        const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
        const int n = virStreamRecvFlags(
            stream_, static_cast<char*>(buffer.data()), size, VIR_STREAM_RECV_STOP_AT_HOLE);
        may_have_more_ = n > 0 || n == at_hole;
        if (n != at_hole)
            return received(n);
        long long length = 0;
        if (virStreamRecvHole(stream_, &length, 0) < 0)
            return received(-1);
        ahead_.append_hole(static_cast<std::uint64_t>(std::max(length, 0LL)));
        return 0;
    }

    bool is_full() const noexcept
    {
        return ahead_.size() >= largest_read_ahead;
    }

    /// More comes out of the socket only when libvirt's queue is known to be empty and all that came has been
    /// read: the queue has no bound, and an error that arrives behind queued data takes its place
    /// (docs/libvirt.md, "Backpressure").
    void control_flow()
    {
        const bool has_unread = may_have_more_ || !ahead_.empty();
        if (has_unread == is_paused_)
            return;
        is_paused_ = has_unread;
        if (is_paused_)
            socket_monitor::instance().pause(*socket_);
        else
            socket_monitor::instance().resume(*socket_);
    }

    const virConnectPtr connection_;
    read_ahead ahead_;
    bool may_have_more_ = true; // libvirt's queue is not known to be empty
    bool is_paused_ = true;     // See connect_for_stream().
};

} // namespace

std::shared_ptr<stream_transport> make_own_connection_transport(
    std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
    virConnectPtr connection, std::shared_ptr<connection_socket> socket)
{
    return std::make_shared<own_connection_transport>(
        std::move(operations), stream, is_console, connection, std::move(socket));
}

} // namespace avirt::detail
