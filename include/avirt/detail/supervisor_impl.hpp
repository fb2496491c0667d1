// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/event_source_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/host_report.hpp>
#include <avirt/supervision_options.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <memory>

namespace avirt {

namespace detail {

using report_handler = asio::any_completion_handler<void(error_code, host_report)>;

class host_consoles;
struct report_receiver;

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
    virtual void retry_now() noexcept = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual void async_receive(report_handler handler, error_details* details) = 0;

    // For the receivers of host_feed.

    virtual std::shared_ptr<report_receiver> add_receiver(std::size_t capacity) = 0;
    virtual void async_receive_for(
        const std::shared_ptr<report_receiver>& receiver, report_handler handler, error_details* details) = 0;
    virtual void cancel(report_receiver& receiver) noexcept = 0;
    virtual void remove(report_receiver& receiver) noexcept = 0;

    /// Whether the driver of the present connection reports changes.
    virtual bool has_events() const noexcept = 0;
    /// What the console sessions of the host have in common.
    virtual std::shared_ptr<host_consoles> consoles() = 0;
};

/// The one compiled implementation behind every basic_host_feed.
class AVIRT_DECL host_feed_impl
{
public:
    host_feed_impl(std::shared_ptr<supervisor_impl> host, std::size_t capacity);
    ~host_feed_impl();
    host_feed_impl(const host_feed_impl&) = delete;
    host_feed_impl& operator=(const host_feed_impl&) = delete;

    void cancel() noexcept;
    void async_receive(report_handler handler, error_details* details);

private:
    const std::shared_ptr<supervisor_impl> host_;
    const std::shared_ptr<report_receiver> receiver_;
};

} // namespace detail
} // namespace avirt
