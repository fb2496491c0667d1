// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "host/host_record.hpp"
#include "host/report_queue.hpp"

#include <avirt/detail/supervisor_impl.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace avirt::detail {

/// One receiver of a host's reports. Guarded by the lock of the broadcast.
struct report_receiver
{
    explicit report_receiver(std::size_t capacity) : queue(capacity) {}

    report_queue queue;
    pending_operation<void(error_code, host_report)> operation;
};

/// The reports of one host, and its receivers. All functions may be called from any thread.
class report_broadcast : public std::enable_shared_from_this<report_broadcast>
{
public:
    explicit report_broadcast(const asio::any_io_executor& executor);

    // What is reported, each to all receivers.

    void connected(std::vector<domain_status> domains);
    void disconnected(host_disconnected why);
    void changed(domain_changed change);

    /// Ends all receives with operation_aborted, and refuses further ones with error::not_open.
    void close() noexcept;
    /// Destroys the handlers, because the context ends.
    void shutdown() noexcept;

    /// Makes a receiver, which begins with the present state of the host.
    std::shared_ptr<report_receiver> add_receiver(std::size_t capacity);

    /// Returns whether the receive has been accepted.
    bool async_receive(
        const std::shared_ptr<report_receiver>& receiver, report_handler handler, error_details* details);
    /// Ends an outstanding receive with operation_aborted.
    void cancel(report_receiver& receiver) noexcept;
    /// Ends an outstanding receive, and drops the reports that have not been received.
    void remove(report_receiver& receiver) noexcept;

private:
    template <class Learn>
    void publish(Learn learn);
    void end(report_receiver& receiver) noexcept;
    void cancel_receive(const std::weak_ptr<report_receiver>& weak, std::uint64_t number);
    void complete_receive(report_receiver& receiver);

    fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    host_record record_;
    std::vector<std::weak_ptr<report_receiver>> receivers_;
    bool is_closed_ = false;
};

} // namespace avirt::detail
