// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/domain_status.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <variant>
#include <vector>

namespace avirt {

struct supervision_options
{
    open_options open{};
    std::chrono::milliseconds first_delay{100};      ///< Between a loss and the next try.
    std::chrono::milliseconds longest_delay{30'000}; ///< It doubles up to this, while tries are in vain.
    std::size_t capacity = 1024;                     ///< How many reports are kept for who does not receive.
};

/// The connection is open: for the first time, or again, or reports had to be dropped. These are the domains,
/// whatever was known before.
struct host_connected
{
    std::vector<domain_status> domains{};
};

/// The connection is lost, or could not be opened.
struct host_disconnected
{
    error_code error{};
    error_details details{};
    std::chrono::milliseconds retry_in{};
};

/// Something happened to a domain.
struct domain_changed
{
    domain_status status{}; ///< What has come of it.
    bool is_gone = false;   ///< It does not exist any more; its state is VIR_DOMAIN_NOSTATE.
    int event = 0;          ///< virDomainEventType: what happened.
    int detail = 0;         ///< virDomainEventStartedDetailType and its like, after the event.
};

using host_report = std::variant<host_connected, host_disconnected, domain_changed>;

namespace detail {

using report_handler = asio::any_completion_handler<void(error_code, host_report)>;

/// The one compiled implementation behind every basic_supervised_connection.
class AVIRT_DECL supervisor_impl
{
public:
    static std::shared_ptr<supervisor_impl> make(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
        supervision_options options);
    virtual ~supervisor_impl();

    virtual void follow(const std::shared_ptr<event_source_impl>& source) = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual void async_receive(report_handler handler, error_details* details) = 0;
};

} // namespace detail
} // namespace avirt
