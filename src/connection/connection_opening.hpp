// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/connection_state.hpp"
#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/deadline.hpp"
#include "loop/socket_observer.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The opening of a connection: async_open() on a worker thread, with a time limit. The public functions are
/// called with the connection's lock held.
class connection_opening : public std::enable_shared_from_this<connection_opening>
{
public:
    /// @param observer observes the socket of each connection that is opened.
    connection_opening(std::shared_ptr<connection_state> connection, std::weak_ptr<socket_observer> observer);

    bool is_pending() const noexcept;

    /// Starts to open the connection. It must not be open, nor being opened or closed.
    void start(open_options options, wait_handler&& handler, error_details* details);

    /// Completes the operation, if it is pending, with operation_aborted.
    void abort() noexcept;

    /// Ends the operation without completing it, because the context ends. The caller destroys the handler
    /// outside the lock.
    std::optional<pending_operation<void(error_code)>::state> take_handler() noexcept;

private:
    void open_on_worker(
        const connect_options& options, const std::shared_ptr<connection_socket>& socket,
        std::uint64_t number);
    void complete(failure f);
    void time_out(std::uint64_t number);
    void cancel(std::uint64_t number);
    void free_thread() noexcept;

    const std::shared_ptr<connection_state> connection_;
    const std::weak_ptr<socket_observer> observer_;
    pending_operation<void(error_code)> operation_;
    std::optional<deadline> time_limit_;
    std::shared_ptr<worker_pool::job> job_;
};

} // namespace avirt::detail
