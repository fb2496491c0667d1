// SPDX-License-Identifier: BSL-1.0
#include "core/release_queue.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/callback_transport.hpp"
#include "stream/contiguous_bytes.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

/// Maximum size of one send on a worker thread. The bytes are copied, because the write may be cancelled
/// while libvirt still reads them.
constexpr std::size_t worker_send_size = 64 * 1024;

} // namespace

bool callback_transport::try_send(const const_buffer_list& buffers, io_result& result)
{
    if (stream_.is_parents() && send_.next() != send_state::step::fail)
        refuse_sends(libvirt_stream::parents_failure());
    switch (send_.next()) {
    case send_state::step::fail:
        result.ending = send_.refusal();
        return true;
    case send_state::step::send:
        return send(buffers, result);
    default:
        return false;
    }
}

bool callback_transport::sends_on_worker() const noexcept
{
    return send_.sends_on_worker();
}

void callback_transport::send_when_possible(const const_buffer_list& buffers)
{
    if (!send_.sends_on_worker())
        request(VIR_STREAM_EVENT_WRITABLE);
    else if (send_.next() == send_state::step::submit)
        send_on_worker(buffers);
}

bool callback_transport::cancel_send(bool at_any_cost)
{
    if (!job_)
        return true;
    auto& pool = worker_pool::instance();
    if (!at_any_cost && !pool.withdraw(job_))
        return false;
    // The thread of a send that has begun is freed at the cost of the connection.
    if (at_any_cost && !pool.abandon(job_) && stream_.socket())
        socket_monitor::instance().interrupt(*stream_.socket());
    job_.reset();
    send_.give_up();
    return true;
}

void callback_transport::leave_send()
{
    if (!job_)
        return;
    if (!worker_pool::instance().withdraw(job_) && stream_.socket())
        limit_leaving();
    job_.reset();
    send_.give_up();
}

void callback_transport::limit_leaving() noexcept
{
    const auto interrupt = [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self && self->stream_.is_sending())
            socket_monitor::instance().interrupt(*self->stream_.socket());
    };
    try {
        leave_limit_.emplace(close_deadline::time_limit, interrupt);
    }
    catch (const std::bad_alloc&) {
        interrupt();
    }
}

bool callback_transport::send(const const_buffer_list& buffers, io_result& result)
{
    const contiguous_bytes bytes(buffers, std::numeric_limits<int>::max());
    const int n = virStreamSend(stream_.get(), bytes.data(), bytes.size());
    if (n != libvirt_stream::would_block) {
        send_.sent();
        if (n < 0)
            result.ending = stream_.explain(last_failure());
        else
            result.bytes = static_cast<std::size_t>(n);
        return true;
    }
    send_.found_no_room();
    if (!send_.has_failed())
        return false;
    result.ending = stream_.hang_up_failure(); // What is not taken now never will be.
    return true;
}

/// If a daemon is behind the stream, virStreamSend blocks until the daemon has taken everything
/// (docs/libvirt.md, "Sending").
void callback_transport::send_on_worker(const const_buffer_list& buffers)
{
    std::vector<char> copy(std::min(buffers.size(), worker_send_size));
    asio::buffer_copy(asio::buffer(copy), buffers);
    virStreamRef(stream_.get());
    const std::shared_ptr<virStream> stream(stream_.get(), [](virStreamPtr s) {
        release_later([](void* p) { virStreamFree(static_cast<virStreamPtr>(p)); }, s);
    });
    job_ = worker_pool::instance().make(
        [self = shared_from_this(), stream, copy = std::move(copy), number = send_.next_number()] {
            const daemon_wait work(self->stream_.socket());
            const libvirt_stream::sending_scope sending(self->stream_);
            auto f = self->stream_.send_noted_hole();
            const int n = f ? -1 : virStreamSend(stream.get(), copy.data(), copy.size());
            if (n == -1 && !f)
                f = self->stream_.explain(last_failure());
            self->send_returned(number, n, std::move(f));
        },
        lane_);
    send_.submit();
    const auto no_thread = worker_pool::instance().submit(job_);
    if (!no_thread)
        return;
    job_.reset();
    send_.give_up();
    if (const auto operations = operations_.lock())
        operations->complete_write(no_thread, 0);
}

void callback_transport::send_returned(std::uint64_t number, int result, failure f)
{
    if_listening([&](auto& operations) {
        if (!send_.is_on_worker(number)) // The write has been cancelled.
            return;
        job_.reset();
        if (result == libvirt_stream::would_block) {
            send_.found_no_room();
            request(VIR_STREAM_EVENT_WRITABLE);
            return;
        }
        send_.sent();
        operations.complete_write(std::move(f), result > 0 ? static_cast<std::size_t>(result) : 0);
    });
}

void callback_transport::refuse_sends(failure why)
{
    cancel_send(true);
    send_.refuse(std::move(why));
}

} // namespace avirt::detail
