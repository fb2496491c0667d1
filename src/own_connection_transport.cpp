// SPDX-License-Identifier: BSL-1.0
#include "event_registry.hpp"
#include "release_queue.hpp"
#include "stream_transport.hpp"

#include <algorithm>
#include <vector>

namespace avirt::detail {
namespace {

/// What the daemon takes in one piece, and sends.
constexpr std::size_t largest_packet = 262120;

/// What has been taken out of libvirt's queue before somebody read it: a byte, as a rule.
class read_ahead_buffer
{
public:
    bool empty() const noexcept
    {
        return bytes_.size() == taken_;
    }

    std::size_t take(asio::mutable_buffer to) noexcept
    {
        const auto n = asio::buffer_copy(to, asio::buffer(bytes_) + taken_);
        taken_ += n;
        if (empty())
            clear();
        return n;
    }

    /// @param receive returns how many bytes it has put into the buffer of that size.
    template <class Receive>
    std::size_t append(std::size_t size, Receive receive)
    {
        const auto before = bytes_.size();
        bytes_.resize(before + size);
        const auto n = receive(asio::buffer(bytes_) + before);
        bytes_.resize(before + n);
        return n;
    }

private:
    void clear() noexcept
    {
        if (bytes_.capacity() > 4096)
            bytes_ = {};
        bytes_.clear();
        taken_ = 0;
    }

    std::vector<char> bytes_;
    std::size_t taken_ = 0;
};

/// There is no stream callback: whatever arrives on this connection is the stream's own, and what has
/// arrived is taken out of libvirt's queue after each dispatch of the connection's socket.
class own_connection_transport final : public stream_transport,
                                       public link_observer,
                                       public std::enable_shared_from_this<own_connection_transport>
{
public:
    own_connection_transport(
        std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
        virConnectPtr connection, std::shared_ptr<connection_link> link)
        : stream_transport(std::move(operations), stream, is_console, std::move(link)),
          connection_(connection)
    {
    }

    failure listen() override
    {
        event_registry::instance().observe(*link_, std::weak_ptr<link_observer>(shared_from_this()));
        if (link_->socket < 0) // Before we were listening.
            lose();
        settle(); // What came along with the answer to the opener.
        return {};
    }

    bool try_receive(asio::mutable_buffer buffer, io_result& result) override
    {
        result.bytes = ahead_.take(buffer);
        buffer += result.bytes;
        if (buffer.size() != 0 && may_have_more_) {
            const auto received = receive(buffer);
            may_have_more_ = received != 0;
            result.bytes += received;
        }
        control_flow();
        return conclude_receive(result);
    }

    /// virStreamSend would block where the socket is full (docs/libvirt.md, "Sending"): no more than it
    /// takes.
    bool try_send(asio::const_buffer buffer, io_result& result) override
    {
        if (send_failure_) {
            result.ending = send_failure_;
            return true;
        }
        const auto room = room_to_send(*link_, std::min(buffer.size(), largest_packet));
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
            return send_failure_ || room_to_send(*link_, 1) != 0;
        settle();
        return end_ || (type == stream_wait_type::read ? !ahead_.empty() : bool(send_failure_));
    }

    void await(stream_wait_type type) override
    {
        if (type == stream_wait_type::write)
            event_registry::instance().await_writable(*link_);
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
        event_registry::instance().interrupt(*link_);
    }

    void stop_listening(std::function<void()> then) override
    {
        is_listening_ = false;
        event_registry::instance().resume(*link_);
        then();
    }

    virStreamPtr release() override
    {
        is_listening_ = false;
        event_registry::instance().resume(*link_);
        event_registry::instance().share(link_);
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
            read_ahead(1);
        control_flow();
    }

    /// Takes everything out of libvirt's queue, before it sends: it reads while it does, and an error that it
    /// reads takes the place of what is queued.
    void drain()
    {
        while (may_have_more_ && !end_)
            read_ahead(largest_packet);
        control_flow();
    }

    void read_ahead(std::size_t size)
    {
        may_have_more_ = ahead_.append(size, [this](asio::mutable_buffer b) { return receive(b); }) != 0;
    }

    /// More comes out of the socket only when libvirt's queue is known to be empty and all that came has been
    /// read: the queue has no bound, and an error that arrives behind queued data takes its place
    /// (docs/libvirt.md, "Backpressure").
    void control_flow()
    {
        const bool is_full = may_have_more_ || !ahead_.empty();
        if (is_full == is_paused_)
            return;
        is_paused_ = is_full;
        if (is_paused_)
            event_registry::instance().pause(*link_);
        else
            event_registry::instance().resume(*link_);
    }

    const virConnectPtr connection_;
    read_ahead_buffer ahead_;
    bool may_have_more_ = true; // libvirt's queue is not known to be empty
    bool is_paused_ = true;     // See connect_for_stream().
};

} // namespace

std::shared_ptr<stream_transport> make_own_connection_transport(
    std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console,
    virConnectPtr connection, std::shared_ptr<connection_link> link)
{
    return std::make_shared<own_connection_transport>(
        std::move(operations), stream, is_console, connection, std::move(link));
}

} // namespace avirt::detail
