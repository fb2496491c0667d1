// SPDX-License-Identifier: BSL-1.0
#include "stream/callback_transport.hpp"

#include "loop/close_deadline.hpp"
#include "loop/event_registry.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/holes.hpp"

#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

namespace avirt::detail {
namespace {

constexpr int readable = VIR_STREAM_EVENT_READABLE;
constexpr int writable = VIR_STREAM_EVENT_WRITABLE;
constexpr int error_or_hang_up = VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP;

int events_for(stream_wait_type type) noexcept
{
    switch (type) {
    case stream_wait_type::read:
        return readable;
    case stream_wait_type::write:
        return writable;
    case stream_wait_type::error:
        break;
    }
    return error_or_hang_up;
}

failure no_holes()
{
    return describe_failure(
        VIR_FROM_STREAMS, "libvirt's drivers in this process do not know holes", condition::not_supported);
}

} // namespace

callback_transport::callback_transport(
    std::weak_ptr<waiting_operations> operations, virStreamPtr stream, bool is_console,
    send_state::method how, std::shared_ptr<connection_socket> socket, std::shared_ptr<job_lane> lane)
    : stream_transport(std::move(operations), stream, is_console, std::move(socket)),
      callback_(stream_),
      receive_(receive_state::state::empty),
      knows_holes_(how == send_state::method::on_worker),
      send_(how),
      lane_(std::move(lane))
{
}

failure callback_transport::listen()
{
    const auto& socket = stream_.socket();
    if (socket)
        socket_monitor::instance().observe(*socket, std::weak_ptr<socket_observer>(shared_from_this()));
    const auto callback = [](virStreamPtr, int events, void* self) {
        try {
            static_cast<callback_transport*>(self)->on_event(events);
        }
        catch (const std::bad_alloc&) {
            // No exception may cross libvirt's frames. libvirt reports again what is still the case.
        }
    };
    if (!callback_.add(callback, this)) {
        receive_.end(last_failure());
        return receive_.why_ended();
    }
    if (socket && socket->is_remote && socket->fd < 0) // The connection was lost before it was observed.
        lose_connection();
    return {};
}

void callback_transport::stop_listening(std::function<void()> then)
{
    struct stopping
    {
        std::shared_ptr<callback_transport> self;
        std::function<void()> then;
    };

    is_listening_ = false;
    // The end of a stream must not race with libvirt's dispatch of it (docs/libvirt.md, "Streams").
    event_registry::instance().defer(
        [](void* argument) {
            const std::unique_ptr<stopping> s(static_cast<stopping*>(argument));
            s->self->callback_.remove();
            s->then();
        },
        new stopping{shared_from_this(), std::move(then)});
}

virStreamPtr callback_transport::release()
{
    using held = std::shared_ptr<callback_transport>;
    is_listening_ = false;
    callback_.remove();
    if (stream_.socket())
        close_deadline::instance().share(stream_.socket());
    // A dispatch may be about to call this object.
    event_registry::instance().defer(
        [](void* self) { delete static_cast<held*>(self); }, new held(shared_from_this()));
    return stream_.get();
}

/// Receives only after libvirt has reported the stream readable, and once for each report: some streams spin
/// inside virStreamRecv until data comes (docs/libvirt.md, "Streams").
bool callback_transport::try_receive(const mutable_buffer_list& buffers, io_result& result)
{
    if (stream_.is_parents() && !receive_.has_ended())
        receive_.end(libvirt_stream::parents_failure());
    if (stops_at_holes_ && !knows_holes_) {
        result.ending = no_holes();
        return true;
    }
    result.bytes = take_ahead(buffers);
    if (result.bytes == 0 && ahead_.empty() && receive_.may_receive()) {
        receive_.use_report();
        result.bytes = receive(buffers);
    }
    if (result.bytes != 0)
        return true;
    if (stops_at_holes_ && !knows_holes_) // This has just turned out.
        result.ending = no_holes();
    else if (stops_at_holes_ && ahead_.begins_with_hole())
        result.ending = error::at_hole;
    else if (receive_.has_ended())
        result.ending = receive_.why_ended();
    return static_cast<bool>(result.ending);
}

std::size_t callback_transport::take_ahead(const mutable_buffer_list& buffers)
{
    std::size_t bytes = 0;
    for (const auto& buffer : buffers)
        bytes += ahead_.take(buffer, stops_at_holes_);
    return bytes;
}

/// Receives once, for as many small buffers as that fills.
std::size_t callback_transport::receive(const mutable_buffer_list& buffers)
{
    std::array<char, 64 * 1024> bytes;
    if (buffers.count() == 1 || buffers.front().size() >= bytes.size())
        return receive(buffers.front());
    const auto received = receive(asio::buffer(bytes, std::min(buffers.size(), bytes.size())));
    return asio::buffer_copy(buffers, asio::buffer(bytes, received));
}

std::size_t callback_transport::receive(asio::mutable_buffer buffer)
{
    if (stops_at_holes_)
        return receive_to_hole(buffer);
    const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
    return on_received(virStreamRecv(stream_.get(), static_cast<char*>(buffer.data()), size));
}

/// Receives up to the next hole, which is added to what has been read ahead.
std::size_t callback_transport::receive_to_hole(asio::mutable_buffer buffer)
{
    const auto received = receive_up_to_hole(stream_.get(), buffer);
    if (received.is_hole) {
        receive_.report();
        ahead_.append_hole(received.hole);
        return 0;
    }
    if (received.result == -1 && virGetLastErrorCode() == VIR_ERR_NO_SUPPORT) {
        receive_.report();
        knows_holes_ = false;
        return 0;
    }
    return on_received(received.result);
}

/// Returns the number of bytes that were received.
std::size_t callback_transport::on_received(int result)
{
    if (result > 0)
        return static_cast<std::size_t>(result);
    if (result == libvirt_stream::would_block)
        receive_.found_nothing();
    else
        receive_.end(stream_.receive_failure(result));
    return 0;
}

void callback_transport::stop_at_holes(bool stops) noexcept
{
    stops_at_holes_ = stops;
}

bool callback_transport::try_receive_hole(hole_result& result)
{
    if (stream_.is_parents() && !receive_.has_ended())
        receive_.end(libvirt_stream::parents_failure());
    // The only way to find out what comes next is to take a byte. Several holes may come in a row.
    while (knows_holes_ && (ahead_.empty() || ahead_.is_hole()) && receive_.may_receive()) {
        std::array<char, 1> byte;
        ahead_.append({byte.data(), receive_to_hole(asio::buffer(byte))});
    }
    result.length = ahead_.take_hole();
    if (result.length != 0 || !ahead_.empty())
        return true;
    if (!knows_holes_)
        result.ending = no_holes();
    else if (receive_.has_ended())
        result.ending = receive_.why_ended();
    return static_cast<bool>(result.ending);
}

failure callback_transport::send_hole(std::uint64_t length)
{
    if (!knows_holes_)
        return no_holes();
    return send_.next() == send_state::step::fail ? send_.refusal() : stream_.add_hole(length);
}

bool callback_transport::is_ready(stream_wait_type type)
{
    if (stream_.is_parents()) // The operation fails at once.
        return true;
    switch (type) {
    case stream_wait_type::read:
        return !ahead_.empty() || receive_.may_receive() || receive_.has_ended();
    case stream_wait_type::write:
        return send_.is_ready();
    case stream_wait_type::error:
        break;
    }
    return send_.has_failed() || receive_.has_ended();
}

void callback_transport::retry_when_ready(stream_wait_type type)
{
    request(events_for(type));
}

void callback_transport::interrupt() noexcept
{
    stream_.end_use();
}

void callback_transport::on_lost()
{
    if_listening([this](auto& operations) {
        lose_connection();
        operations.retry_reads();
        operations.retry_writes();
    });
}

void callback_transport::lose_connection()
{
    receive_.lose(lost_failure(*stream_.socket()));
    refuse_sends(stream_.send_failure_after_loss());
}

/// Called by libvirt.
void callback_transport::on_event(int events)
{
    if_listening([&](auto& operations) {
        if (events == VIR_STREAM_EVENT_ERROR && !event_registry::instance().is_dispatching_here())
            return aborted_by_libvirt(operations);
        if (events & error_or_hang_up) {
            // Streams that are files report the two again and again. So either stands for both, and both
            // are cancelled below.
            events |= readable | writable | error_or_hang_up;
            send_.report_failure();
        }
        int unwanted = events & error_or_hang_up;
        if (events & readable) {
            receive_.report();
            if (!operations.retry_reads())
                unwanted |= readable;
        }
        if (events & writable) {
            send_.report_writable();
            if (!operations.retry_writes())
                unwanted |= writable;
        }
        // Events are cancelled only when they are reported and no operation waits for them. If each operation
        // cancelled its own, they would be switched off and on between two operations of a busy stream.
        if (!callback_.cancel(unwanted))
            aborted_by_libvirt(operations);
    });
}

/// The driver in this process has aborted the stream, for another opener that takes the console by force. The
/// thread that does so is the caller, and the watch would outlive its file if it were not removed here
/// (docs/libvirt.md, "Consoles of the embedded driver").
void callback_transport::aborted_by_libvirt(waiting_operations& operations)
{
    const auto why =
        describe_failure(VIR_FROM_STREAMS, "libvirt aborted the stream", condition::console_taken_over);
    receive_.end(why);
    refuse_sends(why);
    callback_.remove();
    operations.retry_reads();
    operations.retry_writes();
}

void callback_transport::request(int events)
{
    if (callback_.request(events))
        return;
    // libvirt has aborted the stream while no events were requested.
    if (const auto operations = operations_.lock())
        aborted_by_libvirt(*operations);
}

} // namespace avirt::detail
