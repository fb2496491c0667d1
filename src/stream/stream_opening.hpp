// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/connection_reference.hpp"
#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"
#include "loop/deadline.hpp"
#include "stream/stream_transport.hpp"
#include "stream/waiting_operations.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace avirt::detail {

/// What a stream is opened on: a connection of the application's, or a new connection to the same daemon.
struct stream_origin
{
    stream_origin(connection_reference reference, const connection_impl& connection, bool shares_connection);

    connection_reference connection;
    bool is_in_process;
    std::shared_ptr<connection_socket> socket;  // null: not known, or the driver is in this process
    std::shared_ptr<const connect_options> own; // how to open the new connection; null: there is none
    std::shared_ptr<job_lane> lane;             // of the application's connection
};

/// One attempt to open a stream. The stream is opened on a worker thread, which is left behind if the attempt
/// is cancelled or takes too long. Guarded by the lock of the stream.
class stream_opening : public std::enable_shared_from_this<stream_opening>
{
public:
    /// @param opened is called under the lock with the transport of the stream that has been opened.
    stream_opening(
        const std::shared_ptr<waiting_operations>& stream,
        std::function<void(std::shared_ptr<stream_transport>)> opened);

    void start(
        stream_origin origin, std::shared_ptr<opener_base> opener, wait_handler handler,
        const asio::any_io_executor& executor, error_details* details);

    bool is_pending() const noexcept
    {
        return static_cast<bool>(operation_);
    }

    /// Completes the operation with operation_aborted, if it is pending.
    void cancel() noexcept;

    /// For a context that ends: the handler, to be destroyed outside the lock.
    std::optional<pending_operation<void(error_code)>::state> shut_down() noexcept;

private:
    template <class Function>
    void if_pending(Function function);

    void run(stream_origin& origin, opener_base& opener);
    virConnectPtr connect(const stream_origin& origin, failure& why);
    void limit_time_to_connect(std::chrono::milliseconds limit);
    void complete(failure f);
    void abandon() noexcept;

    const std::weak_ptr<waiting_operations> stream_;
    const std::function<void(std::shared_ptr<stream_transport>)> opened_;
    pending_operation<void(error_code)> operation_;
    worker_pool::job_ptr job_;
    std::shared_ptr<connection_socket> own_socket_; // of the new connection
    bool is_connecting_ = false;                    // the new connection is not open yet
    connection_use use_;
    std::optional<deadline> time_to_connect_;
};

} // namespace avirt::detail
