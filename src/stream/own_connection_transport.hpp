// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/socket_observer.hpp"
#include "stream/read_ahead.hpp"
#include "stream/receive_state.hpp"
#include "stream/socket_pause.hpp"
#include "stream/stream_transport.hpp"

#include <cstddef>
#include <memory>

namespace avirt::detail {

/// A stream that has a connection to itself, which the transport owns.
///
/// libvirt has no event callback here: whatever arrives on the connection belongs to the stream, and is taken
/// out of libvirt's queue after each dispatch of the connection's socket. What no read waits for is read
/// ahead, and the socket is paused until it has been read.
class own_connection_transport final : public stream_transport,
                                       public socket_observer,
                                       public std::enable_shared_from_this<own_connection_transport>
{
public:
    /// @param socket The connection's socket, which connect_for_stream() has paused.
    own_connection_transport(
        std::weak_ptr<waiting_operations> operations, virStreamPtr stream, bool is_console,
        virConnectPtr connection, std::shared_ptr<connection_socket> socket);

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
    void leave_send() override {} // What is sent is sent inside try_send().
    void interrupt() noexcept override;
    void dispose() override;

    void on_sending() override;
    void on_served() override;
    void on_writable() override;
    void on_hung_up() override;
    void on_lost() override;

private:
    void lose_connection();
    void receive_new(waiting_operations& operations);
    void receive_with_send();
    void probe_queue();
    void empty_queue();
    void receive_ahead(std::size_t size);
    bool is_at_hole() const noexcept;
    std::size_t fill(asio::mutable_buffer buffer);
    std::size_t receive(asio::mutable_buffer buffer);
    bool is_full() const noexcept;
    void pause_or_resume();
    void on_read(bool was_full);

    const virConnectPtr connection_;
    connection_socket& socket_;
    read_ahead ahead_;
    bool stops_at_holes_ = false;
    receive_state receive_; // Of libvirt's queue, behind what has been read ahead.
    socket_pause pause_{socket_};
    failure send_failure_; // Why nothing can be sent any more; none: sends are possible.
};

} // namespace avirt::detail
