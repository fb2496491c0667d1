// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/deadline.hpp"
#include "loop/socket_observer.hpp"
#include "stream/read_ahead.hpp"
#include "stream/receive_state.hpp"
#include "stream/send_state.hpp"
#include "stream/stream_callback.hpp"
#include "stream/stream_transport.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// A stream that shares its connection with others, or whose driver is in this process. libvirt's event
/// callback reports when it can be read and written.
class callback_transport final : public stream_transport,
                                 public socket_observer,
                                 public std::enable_shared_from_this<callback_transport>
{
public:
    /// @param how Whether virStreamSend may block in spite of VIR_STREAM_NONBLOCK.
    /// @param lane The lane of the jobs that send.
    callback_transport(
        std::weak_ptr<waiting_operations> operations, virStreamPtr stream, bool is_console,
        send_state::method how, std::shared_ptr<connection_socket> socket, std::shared_ptr<job_lane> lane);

    failure listen() override;
    void stop_listening(std::function<void()> then) override;
    virStreamPtr release() override;

    bool try_receive(const mutable_buffer_list& buffers, io_result& result) override;
    void stop_at_holes(bool stops) noexcept override;
    bool try_receive_hole(hole_result& result) override;
    failure send_hole(std::uint64_t length) override;
    bool try_send(const const_buffer_list& buffers, io_result& result) override;
    bool sends_on_worker() const noexcept override;
    bool is_ready(stream_wait_type type) override;

    void retry_when_ready(stream_wait_type type) override;
    void send_when_possible(const const_buffer_list& buffers) override;
    bool cancel_send(bool at_any_cost) override;
    void leave_send() override;
    void interrupt() noexcept override;

    void on_lost() override;

private:
    void lose_connection();
    void on_event(int events);
    void aborted_by_libvirt(waiting_operations& operations);
    void request(int events);

    std::size_t take_ahead(const mutable_buffer_list& buffers);
    std::size_t receive(const mutable_buffer_list& buffers);
    std::size_t receive(asio::mutable_buffer buffer);
    std::size_t receive_to_hole(asio::mutable_buffer buffer);
    std::size_t on_received(int result);
    bool send(const const_buffer_list& buffers, io_result& result);
    void send_on_worker(const const_buffer_list& buffers);
    void send_returned(std::uint64_t number, int result, failure f);
    void refuse_sends(failure why);
    void limit_leaving() noexcept;

    stream_callback callback_;
    receive_state receive_;
    read_ahead ahead_; // holes, and a byte that was taken to find out whether a hole comes next
    bool stops_at_holes_ = false;
    bool knows_holes_; // Drivers in this process do not, and some harm themselves when they are asked.
    send_state send_;
    const std::shared_ptr<job_lane> lane_;
    worker_pool::job_ptr job_;            // null unless a worker thread sends
    std::optional<deadline> leave_limit_; // for a send that goes on when the stream ends
};

} // namespace avirt::detail
