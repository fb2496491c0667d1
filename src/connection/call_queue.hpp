// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/connection_reference.hpp"
#include "connection/connection_state.hpp"
#include "connection/pending_call.hpp"
#include "connection/ready_connections.hpp"
#include "loop/connection_socket.hpp"
#include "loop/socket_observer.hpp"

#include <avirt/detail/call.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The calls of functions on one connection, each on a worker thread; one after the other if libvirt needs
/// that (docs/libvirt.md, "Threads"). The public functions are called with the connection's lock held.
class call_queue final : public socket_observer, public std::enable_shared_from_this<call_queue>
{
public:
    using handler_list = std::list<std::optional<pending_call::operation::state>>;

    explicit call_queue(std::shared_ptr<connection_state> connection);

    /// Calls the function on the connection.
    void call(std::shared_ptr<call_base> function, call_handler&& handler, error_details* details);

    /// Calls the function on a connection that no other call uses meanwhile; on the connection itself if no
    /// other connection is needed or if it is not known how to open one.
    void call_on_own_connection(
        std::shared_ptr<call_base> function, call_handler&& handler, error_details* details);

    /// Fails the calls that have not been started.
    void fail_unstarted(const failure& f);

    /// Completes all calls with operation_aborted.
    void abort(interruption allowed);

    /// Frees the threads of the calls that are still running although their operations have completed.
    void free_detached(interruption allowed) noexcept;

    /// The connection has been given up. Forgets the call for which the others wait, and closes the
    /// connections that are ready for calls.
    void forget_connection() noexcept
    {
        exclusive_ = 0;
        ready_.close_all();
    }

    /// A connection that is ready for calls is lost. Called without the lock.
    void on_lost() override;

    /// Ends all calls without completing them, because the context ends. The caller destroys the handlers
    /// outside the lock.
    handler_list take_handlers();

private:
    using iterator = std::list<pending_call>::iterator;

    // With the lock held.
    pending_call* add(std::shared_ptr<call_base> function, call_handler&& handler, error_details* details);

    iterator find(std::uint64_t number)
    {
        return std::ranges::find(calls_, number, &pending_call::number);
    }

    void start_waiting();
    bool start(pending_call& c);
    void start_on_own_connection(pending_call& c, std::shared_ptr<const connect_options> options);
    bool submit(pending_call& c, std::function<void()> job);
    void complete(iterator c, failure f, bool has_returned = false);
    bool withdraw(pending_call& c) noexcept;
    void free_thread(pending_call& c, interruption allowed) noexcept;

    // On a worker thread.
    void run(
        std::uint64_t number, call_base& function, connection_reference& connection,
        std::shared_ptr<connection_socket> socket, bool must_find_socket);
    void run_on_own_connection(
        std::uint64_t number, call_base& function, const std::shared_ptr<const connect_options>& options,
        const std::shared_ptr<connection_socket>& socket);
    ready_connections::connection take_ready(std::uint64_t number);
    void set_time_to_connect(std::uint64_t number, const connect_options& options);
    bool begin_on_own_connection(std::uint64_t number);
    bool keep(
        const ready_connections::connection& own, const std::shared_ptr<const connect_options>& options);
    void set_socket(std::uint64_t number, const std::shared_ptr<connection_socket>& socket);
    void on_returned(std::uint64_t number, failure f);
    void on_returned_locked(std::uint64_t number, failure f);

    // On the loop, or where a cancellation signal is emitted.
    void time_out(std::uint64_t number);
    void close_ready(std::uint64_t number);
    void cancel(std::uint64_t number, asio::cancellation_type type);

    const std::shared_ptr<connection_state> connection_;
    std::list<pending_call> calls_;
    std::list<pending_call> detached_; // They run on, but their operations have completed.
    ready_connections ready_;
    std::uint64_t last_number_ = 0;
    std::uint64_t exclusive_ = 0; // the call for which the others wait, if calls must be ordered; 0: none
};

} // namespace avirt::detail
