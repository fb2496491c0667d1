// SPDX-License-Identifier: BSL-1.0
#include "stream/stream_io.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

} // namespace

bool stream_io::try_read(const mutable_buffer_list& buffers, io_result& result)
{
    const std::lock_guard guard(mutex());
    return executor_ && try_read_locked(buffers, result);
}

bool stream_io::try_write(const const_buffer_list& buffers, io_result& result)
{
    const std::lock_guard guard(mutex());
    return executor_ && try_write_locked(buffers, result);
}

bool stream_io::try_read_hole(hole_result& result)
{
    const std::lock_guard guard(mutex());
    return executor_ && try_read_hole_locked(result);
}

bool stream_io::try_write_hole(std::uint64_t length, wait_result& result)
{
    const std::lock_guard guard(mutex());
    if (!executor_)
        return false;
    if (!transport_ || write_)
        result.ending = transport_ ? error::operation_in_progress : error::not_open;
    else if (length != 0) // libvirt gives the connection up at a hole that has no length.
        result.ending = transport_->send_hole(length);
    return true;
}

bool stream_io::try_wait(stream_wait_type type, wait_result& result)
{
    const std::lock_guard guard(mutex());
    return executor_ && try_wait_locked(type, result);
}

bool stream_io::sends_on_worker() const noexcept
{
    const std::lock_guard guard(mutex());
    return transport_ && transport_->sends_on_worker();
}

void stream_io::async_read(const mutable_buffer_list& buffers, io_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex());
    if (!executor_)
        return;
    io_result result;
    if (try_read_locked(buffers, result)) // Data may have come meanwhile, on the loop's thread.
        return complete_now(executor_, std::move(handler), details, std::move(result.ending), result.bytes);
    cancel_with(handler, read_, [](auto& self, asio::cancellation_type) { self.read_.complete(aborted, 0); });
    read_.start(std::move(handler), executor_, details);
    read_buffers_ = buffers;
    transport_->retry_when_ready(stream_wait_type::read);
}

void stream_io::async_write(const const_buffer_list& buffers, io_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex());
    if (!executor_)
        return;
    io_result result;
    if (try_write_locked(buffers, result))
        return complete_now(executor_, std::move(handler), details, std::move(result.ending), result.bytes);
    cancel_with(handler, write_, [](auto& self, asio::cancellation_type type) {
        const bool is_terminal = (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
        if (self.transport_->cancel_send(is_terminal))
            self.write_.complete(aborted, 0);
    });
    write_.start(std::move(handler), executor_, details);
    write_buffers_ = buffers;
    transport_->send_when_possible(buffers);
}

bool stream_io::stop_at_holes(bool stops)
{
    const std::lock_guard guard(mutex());
    if (transport_)
        transport_->stop_at_holes(stops);
    return std::exchange(stops_at_holes_, stops);
}

void stream_io::async_read_hole(hole_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex());
    if (!executor_)
        return;
    hole_result result;
    if (try_read_hole_locked(result))
        return complete_now(executor_, std::move(handler), details, std::move(result.ending), result.length);
    cancel_with(handler, read_hole_, [](auto& self, asio::cancellation_type) {
        self.read_hole_.complete(aborted, 0);
    });
    read_hole_.start(std::move(handler), executor_, details);
    transport_->retry_when_ready(stream_wait_type::read);
}

void stream_io::async_wait(stream_wait_type type, wait_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex());
    if (!executor_)
        return;
    wait_result result;
    if (try_wait_locked(type, result))
        return complete_now(executor_, std::move(handler), details, std::move(result.ending));
    auto& wait = wait_for(type);
    cancel_with(handler, wait, [type](auto& self, asio::cancellation_type) {
        self.wait_for(type).complete(aborted);
    });
    wait.start(std::move(handler), executor_, details);
    transport_->retry_when_ready(type);
}

bool stream_io::retry_reads()
{
    const bool was_pending = is_reading() || wait_for(stream_wait_type::read);
    retry_wait(stream_wait_type::read);
    io_result result;
    if (read_ && transport_->try_receive(read_buffers_, result))
        read_.complete(std::move(result.ending), result.bytes);
    hole_result hole;
    if (read_hole_ && transport_->try_receive_hole(hole))
        read_hole_.complete(std::move(hole.ending), hole.length);
    retry_wait(stream_wait_type::error); // After the read, which may find the end.
    return was_pending;
}

bool stream_io::retry_writes()
{
    const bool was_pending = write_ || wait_for(stream_wait_type::write);
    retry_wait(stream_wait_type::write);
    io_result result;
    if (write_ && transport_->try_send(write_buffers_, result))
        write_.complete(std::move(result.ending), result.bytes);
    else if (write_)
        transport_->send_when_possible(write_buffers_);
    return was_pending;
}

void stream_io::complete_write(failure f, std::size_t bytes)
{
    write_.complete(std::move(f), bytes);
}

void stream_io::use(std::shared_ptr<stream_transport> transport)
{
    transport_ = std::move(transport);
    transport_->stop_at_holes(stops_at_holes_);
}

void stream_io::cancel_io() noexcept
{
    if (transport_)
        transport_->cancel_send(true);
    abort_all();
}

void stream_io::leave_io() noexcept
{
    if (transport_)
        transport_->leave_send();
    abort_all();
}

void stream_io::abort_all() noexcept
{
    read_.complete(aborted, 0);
    read_hole_.complete(aborted, 0);
    for (auto& w : waits_)
        w.complete(aborted);
    write_.complete(aborted, 0);
}

stream_io::handlers stream_io::shut_down_io() noexcept
{
    if (transport_)
        transport_->cancel_send(true);
    return {
        read_.take(),
        write_.take(),
        read_hole_.take(),
        {waits_[0].take(), waits_[1].take(), waits_[2].take()}};
}

bool stream_io::try_read_locked(const mutable_buffer_list& buffers, io_result& result)
{
    if (buffers.empty())
        return true;
    if (transport_ && !is_reading()) {
        const bool is_over = transport_->try_receive(buffers, result);
        if (result.ending)
            retry_wait(stream_wait_type::error);
        return is_over;
    }
    result.ending = transport_ ? error::operation_in_progress : error::not_open;
    return true;
}

bool stream_io::try_write_locked(const const_buffer_list& buffers, io_result& result)
{
    if (buffers.empty())
        return true;
    if (transport_ && !write_)
        return transport_->try_send(buffers, result);
    result.ending = transport_ ? error::operation_in_progress : error::not_open;
    return true;
}

bool stream_io::try_read_hole_locked(hole_result& result)
{
    if (transport_ && !is_reading()) {
        const bool is_over = transport_->try_receive_hole(result);
        if (result.ending)
            retry_wait(stream_wait_type::error);
        return is_over;
    }
    result.ending = transport_ ? error::operation_in_progress : error::not_open;
    return true;
}

bool stream_io::try_wait_locked(stream_wait_type type, wait_result& result)
{
    if (transport_ && !wait_for(type))
        return transport_->is_ready(type);
    result.ending = transport_ ? error::operation_in_progress : error::not_open;
    return true;
}

/// Completes the wait if it is over.
void stream_io::retry_wait(stream_wait_type type)
{
    auto& wait = wait_for(type);
    if (!wait)
        return;
    if (transport_->is_ready(type))
        wait.complete({});
    else
        transport_->retry_when_ready(type);
}

/// Makes a cancellation of the operation that is about to start call function(*this, type) with the lock
/// held.
template <class Handler, class Operation, class Function>
void stream_io::cancel_with(const Handler& handler, const Operation& operation, Function function)
{
    on_cancel(
        handler,
        [weak = weak_from_this(), &operation, n = operation.number() + 1,
         function](asio::cancellation_type type) {
            const auto self = weak.lock();
            if (!self)
                return;
            const std::lock_guard guard(self->mutex());
            if (operation && operation.number() == n)
                function(*self, type);
        });
}

} // namespace avirt::detail
