// SPDX-License-Identifier: BSL-1.0
#include "stream/own_connection_transport.hpp"

#include "core/release_queue.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/contiguous_bytes.hpp"
#include "stream/holes.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

namespace avirt::detail {
namespace {

/// The most that is taken out of libvirt's queue at a time before a send.
constexpr std::size_t largest_read = 64 * 1024;

/// How much may have been read ahead before a write has to wait: each write reads what comes in meanwhile.
constexpr std::size_t largest_read_ahead = 4 * 1024 * 1024;

} // namespace

own_connection_transport::own_connection_transport(
    std::weak_ptr<waiting_operations> operations, virStreamPtr stream, bool is_console,
    virConnectPtr connection, std::shared_ptr<connection_socket> socket)
    : stream_transport(std::move(operations), stream, is_console, std::move(socket)),
      connection_(connection),
      socket_(*stream_.socket()),
      receive_(receive_state::state::maybe_more)
{
}

failure own_connection_transport::listen()
{
    socket_monitor::instance().observe(socket_, std::weak_ptr<socket_observer>(shared_from_this()));
    if (socket_.fd < 0) // The connection was lost before it was observed.
        lose_connection();
    // The socket stays paused until the first operation: a stream that is not read yet costs no packet.
    return {};
}

void own_connection_transport::stop_listening(std::function<void()> then)
{
    is_listening_ = false;
    socket_monitor::instance().resume(socket_);
    then();
}

virStreamPtr own_connection_transport::release()
{
    is_listening_ = false;
    socket_monitor::instance().resume(socket_);
    close_deadline::instance().share(stream_.socket());
    // The stream keeps its connection open.
    close_later(connection_);
    return stream_.get();
}

bool own_connection_transport::try_receive(const mutable_buffer_list& buffers, io_result& result)
{
    const bool was_full = is_full();
    for (const auto& buffer : buffers) {
        const auto filled = fill(buffer);
        result.bytes += filled;
        if (filled != buffer.size())
            break;
    }
    on_read(was_full);
    if (result.bytes == 0 && is_at_hole())
        result.ending = error::at_hole;
    else if (result.bytes == 0 && receive_.has_ended())
        result.ending = receive_.why_ended();
    return result.bytes != 0 || result.ending;
}

/// Fills the buffer as far as data has arrived. Returns the number of bytes.
std::size_t own_connection_transport::fill(asio::mutable_buffer buffer)
{
    const auto size = buffer.size();
    buffer += ahead_.take(buffer, stops_at_holes_);
    while (buffer.size() != 0 && receive_.may_receive() && !is_at_hole()) {
        buffer += receive(buffer);
        buffer += ahead_.take(buffer, stops_at_holes_); // the hole, if there is one
    }
    return size - buffer.size();
}

bool own_connection_transport::is_at_hole() const noexcept
{
    return stops_at_holes_ && ahead_.begins_with_hole();
}

void own_connection_transport::stop_at_holes(bool stops) noexcept
{
    stops_at_holes_ = stops;
}

bool own_connection_transport::try_receive_hole(hole_result& result)
{
    const bool was_full = is_full();
    probe_queue();
    while (ahead_.is_hole() && receive_.may_receive()) // Another hole may follow.
        receive_ahead(1);
    result.length = ahead_.take_hole();
    on_read(was_full);
    if (result.length != 0 || !ahead_.empty())
        return true;
    if (receive_.has_ended())
        result.ending = receive_.why_ended();
    return static_cast<bool>(result.ending);
}

failure own_connection_transport::send_hole(std::uint64_t length)
{
    return send_failure_ ? send_failure_ : stream_.add_hole(length);
}

/// Sends no more than the socket takes: virStreamSend would block if the socket were full (docs/libvirt.md,
/// "Sending").
bool own_connection_transport::try_send(const const_buffer_list& buffers, io_result& result)
{
    if (send_failure_) {
        result.ending = send_failure_;
        return true;
    }
    if (stream_.has_unsent_hole()) {
        if (is_full() || room_to_send(socket_, 1) == 0)
            return false;
        empty_queue();
        result.ending = stream_.send_noted_hole();
        receive_with_send();
        if (result.ending)
            return true;
    }
    const auto room = is_full() ? 0 : room_to_send(socket_, std::min(buffers.size(), largest_packet));
    if (room == 0)
        return false;
    empty_queue();
    const contiguous_bytes packet(buffers, room);
    const int n = virStreamSend(stream_.get(), packet.data(), packet.size());
    if (n < 0)
        result.ending = stream_.explain(last_failure());
    else
        result.bytes = static_cast<std::size_t>(n);
    receive_with_send();
    return true;
}

/// libvirt reads while it writes.
void own_connection_transport::receive_with_send()
{
    if (const auto operations = operations_.lock())
        receive_new(*operations);
}

bool own_connection_transport::sends_on_worker() const noexcept
{
    return false;
}

bool own_connection_transport::is_ready(stream_wait_type type)
{
    if (type == stream_wait_type::write)
        return send_failure_ || (!is_full() && room_to_send(socket_, 1) != 0);
    probe_queue();
    return receive_.has_ended()
        || (type == stream_wait_type::read ? !ahead_.empty() : static_cast<bool>(send_failure_));
}

void own_connection_transport::retry_when_ready(stream_wait_type type)
{
    // Reads are retried after each dispatch of the socket. If too much has been read ahead, it is a read that
    // lets writes go on: see try_receive().
    if (type == stream_wait_type::write && !is_full())
        socket_monitor::instance().await_writable(socket_);
}

void own_connection_transport::send_when_possible(const const_buffer_list&)
{
    retry_when_ready(stream_wait_type::write);
}

bool own_connection_transport::cancel_send(bool)
{
    return true; // See leave_send().
}

void own_connection_transport::interrupt() noexcept
{
    socket_monitor::instance().interrupt(socket_);
}

void own_connection_transport::dispose()
{
    close_now(connection_);
}

void own_connection_transport::on_sending()
{
    if_listening([this](auto&) { empty_queue(); });
}

void own_connection_transport::on_served()
{
    if_listening([this](auto& operations) { receive_new(operations); });
}

void own_connection_transport::on_writable()
{
    if_listening([](auto& operations) { operations.retry_writes(); });
}

void own_connection_transport::on_hung_up()
{
    if_listening([this](auto& operations) {
        probe_queue();           // If nothing has been read yet, the socket was paused without reason.
        if (!pause_.is_paused()) // libvirt goes on reading, and finds what came before the end.
            return;
        if (!send_failure_) {
            const bool has_failed = receive_.has_ended() && receive_.why_ended().code != asio::error::eof;
            send_failure_ = has_failed ? receive_.why_ended() : lost_failure(socket_);
        }
        operations.retry_reads();
        operations.retry_writes();
    });
}

void own_connection_transport::on_lost()
{
    if_listening([this](auto& operations) {
        lose_connection();
        receive_new(operations);
        operations.retry_writes();
    });
}

void own_connection_transport::lose_connection()
{
    receive_.lose(lost_failure(socket_));
    send_failure_ = stream_.send_failure_after_loss();
}

/// libvirt may have received something.
void own_connection_transport::receive_new(waiting_operations& operations)
{
    receive_.report();
    operations.retry_reads();
    probe_queue();
}

/// Finds out whether libvirt's queue is empty. The only way to do so is to take a byte.
void own_connection_transport::probe_queue()
{
    if (ahead_.empty() && receive_.may_receive())
        receive_ahead(1);
    pause_or_resume();
}

/// Takes everything out of libvirt's queue, before libvirt sends: it reads while it sends, and an error that
/// it reads takes the place of what is queued. That is no more than libvirt has read with the latest send,
/// and a hole is only a length.
void own_connection_transport::empty_queue()
{
    while (receive_.may_receive())
        receive_ahead(largest_read);
    pause_or_resume();
}

void own_connection_transport::receive_ahead(std::size_t size)
{
    std::array<char, largest_read> bytes;
    ahead_.append({bytes.data(), receive(asio::buffer(bytes, size))});
}

/// Receives up to the next hole, which is added to what has been read ahead.
std::size_t own_connection_transport::receive(asio::mutable_buffer buffer)
{
    const auto received = receive_up_to_hole(stream_.get(), buffer);
    if (received.is_hole)
        ahead_.append_hole(received.hole);
    else if (received.result > 0)
        return static_cast<std::size_t>(received.result);
    else if (received.result == libvirt_stream::would_block)
        receive_.found_nothing();
    else
        receive_.end(stream_.receive_failure(received.result));
    return 0;
}

bool own_connection_transport::is_full() const noexcept
{
    return ahead_.size() >= largest_read_ahead;
}

/// Something was read, for which the socket may be paused, and a write may wait.
void own_connection_transport::on_read(bool was_full)
{
    pause_or_resume();
    if (was_full && !is_full())
        retry_when_ready(stream_wait_type::write);
}

void own_connection_transport::pause_or_resume()
{
    pause_.update(receive_.may_receive() || !ahead_.empty());
}

} // namespace avirt::detail
