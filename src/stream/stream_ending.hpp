// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/pending_operation.hpp"
#include "stream/stream_transport.hpp"
#include "stream/waiting_operations.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <memory>
#include <optional>

namespace avirt::detail {

/// The end of one stream by virStreamFinish or virStreamAbort, on a worker thread. It goes on if the
/// operation that waits for it is cancelled. Guarded by the lock of the stream.
class stream_ending : public std::enable_shared_from_this<stream_ending>
{
public:
    using end_function = int (*)(virStreamPtr);

    explicit stream_ending(const std::shared_ptr<waiting_operations>& stream) : stream_(stream) {}

    /// Ends the stream for an operation. Takes @p transport over once nothing can fail any more.
    void start(
        std::shared_ptr<stream_transport>& transport, end_function function, wait_handler handler,
        const asio::any_io_executor& executor, error_details* details);
    /// Ends the stream. No operation waits for the result.
    void start(std::shared_ptr<stream_transport> transport, end_function function);

    bool is_pending() const noexcept
    {
        return static_cast<bool>(operation_);
    }

    /// Completes the operation with operation_aborted, if it is pending, and frees the thread that ends the
    /// stream.
    void cancel() noexcept;

    /// For a context that ends: the handler, to be destroyed outside the lock.
    std::optional<pending_operation<void(error_code)>::state> shut_down() noexcept
    {
        return operation_.take();
    }

private:
    void run(stream_transport& transport, end_function function);
    void report_later(const error_code& why);
    void report(failure f);
    bool is_awaited() const;

    const std::weak_ptr<waiting_operations> stream_;
    pending_operation<void(error_code)> operation_;
    std::shared_ptr<stream_transport> transport_; // null unless the operation is pending
};

} // namespace avirt::detail
