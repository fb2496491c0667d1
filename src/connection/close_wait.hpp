// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/call_queue.hpp"
#include "connection/connection_state.hpp"
#include "core/pending_operation.hpp"
#include "loop/socket_observer.hpp"

#include <avirt/close_reason.hpp>
#include <avirt/detail/connection_impl.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The wait for the end of a connection: async_wait_closed(). The public functions are called with the
/// connection's lock held.
class close_wait final : public socket_observer, public std::enable_shared_from_this<close_wait>
{
public:
    /// @param calls makes the call that finds the socket of a connection that was opened elsewhere.
    close_wait(std::shared_ptr<connection_state> connection, std::shared_ptr<call_queue> calls);

    bool is_pending() const noexcept;

    /// Starts to wait. The connection must be open.
    void start(closed_handler&& handler, error_details* details);

    /// Completes the operation, if it is pending, because the application has closed the connection.
    void complete_closed();

    /// Completes the operation, if it is pending, if the daemon or the way to it is gone.
    void complete_if_lost();

    /// Completes the operation, if it is pending, with operation_aborted.
    void abort();

    /// Ends the operation without completing it, because the context ends. The caller destroys the handler
    /// outside the lock.
    std::optional<pending_operation<void(error_code, close_reason)>::state> take_handler();

private:
    void find_socket();
    void fail_unwatched(std::uint64_t number);
    void cancel(std::uint64_t number);
    void on_lost() override;

    const std::shared_ptr<connection_state> connection_;
    const std::shared_ptr<call_queue> calls_;
    pending_operation<void(error_code, close_reason)> operation_;
};

} // namespace avirt::detail
