// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/deadline.hpp"

#include <avirt/detail/call.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace avirt::detail {

/// Whether a connection may be interrupted to free the threads of the calls that run on it. if_unused spares
/// a connection that streams still use: the threads are freed once the last of these streams has ended.
enum class interruption { never, if_unused, always };

/// One call of a call_queue: its operation and its job on a worker thread.
class pending_call
{
public:
    using operation = pending_operation<void(error_code, bool)>;

    pending_call(
        std::uint64_t number, std::shared_ptr<call_base> function, call_handler&& handler,
        const asio::any_io_executor& executor, error_details* details);

    /// Starts the job that calls the function. Returns an error if there is no thread for it.
    error_code submit(std::function<void()> job, const std::shared_ptr<job_lane>& lane);

    bool is_started() const noexcept
    {
        return job_ != nullptr;
    }

    /// Drops the job if it has not begun. Returns whether it was dropped.
    bool withdraw() noexcept;

    /// Frees the thread of the job, which has begun, at the cost of the connection. A thread for which
    /// libvirt has registered no socket yet is abandoned.
    void free_thread(interruption allowed) noexcept;

    /// Completes the operation.
    void complete(failure f, bool has_returned);

    /// Completes the operation with operation_aborted. The function runs on, the connection is kept, and the
    /// function's result is released.
    void detach();

    /// Ends the operation without completing it.
    std::optional<operation::state> take_handler();

    const std::uint64_t number;
    std::shared_ptr<call_base> function;
    std::shared_ptr<connection_socket> socket; // Shutting it down frees the thread.
    bool may_be_running = false;               // The function may have been called.
    std::optional<deadline> time_to_connect;   // while a connection is opened for this call

private:
    operation operation_;
    std::shared_ptr<worker_pool::job> job_;
    std::optional<worker_pool::queue_place> queue_place_{std::in_place}; // until there is a job
};

} // namespace avirt::detail
