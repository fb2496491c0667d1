// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/close_wait.hpp"
#include "connection/connection_state.hpp"
#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The closing of a connection: async_close() on a worker thread. The public functions are called with the
/// connection's lock held.
class connection_closing : public std::enable_shared_from_this<connection_closing>
{
public:
    /// @param wait is completed when a connection has been closed.
    connection_closing(std::shared_ptr<connection_state> connection, std::shared_ptr<close_wait> wait);

    bool is_pending() const noexcept;

    /// Makes the job that closes the open connection.
    worker_pool::job_ptr make_job();
    /// Takes the open connection out of the shared state, and starts the job.
    void start(worker_pool::job_ptr job, wait_handler&& handler, error_details* details);

    /// Completes the operation, if it is pending, with operation_aborted, and cuts the connection off.
    void abort() noexcept;

    /// Ends the operation without completing it, because the context ends. The caller destroys the handler
    /// outside the lock.
    std::optional<pending_operation<void(error_code)>::state> take_handler() noexcept;

private:
    void on_closed(std::uint64_t number, failure f);
    void complete(failure f);
    void cancel(std::uint64_t number);

    const std::shared_ptr<connection_state> connection_;
    const std::shared_ptr<close_wait> wait_;
    pending_operation<void(error_code)> operation_;
    std::shared_ptr<connection_socket> socket_; // of the connection that is being closed
    connection_use use_;                        // of the same
};

} // namespace avirt::detail
