// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/host_report.hpp>
#include <avirt/supervision_options.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>

#include <memory>

namespace avirt {

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

    /// Subscribes the source whenever the connection has been opened.
    virtual void follow(const std::shared_ptr<event_source_impl>& source) = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual void async_receive(report_handler handler, error_details* details) = 0;
};

} // namespace detail
} // namespace avirt
