// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/close_reason.hpp>
#include <avirt/detail/call.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>
#include <avirt/open_options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <memory>

namespace avirt {

namespace detail {

class job_lane;
struct connect_options;
struct connection_socket;

using closed_handler = asio::any_completion_handler<void(error_code, close_reason)>;

/// An operation that consists of operations on a connection and is aborted together with them.
class connection_user
{
public:
    /// Called under the connection's lock.
    virtual void abort() noexcept = 0;

protected:
    ~connection_user() = default;
};

/// The one compiled implementation behind every basic_connection.
class AVIRT_DECL connection_impl
{
public:
    static std::shared_ptr<connection_impl> make(const asio::any_io_executor& executor);
    virtual ~connection_impl();

    virtual virConnectPtr native_handle() const noexcept = 0;
    /// Returns the handle with a reference of the caller's own, because a supervised connection may be closed
    /// at any moment.
    virtual virConnectPtr add_reference() const noexcept = 0;
    /// Whether avirt opened the connection and libvirt's driver is in this process: no call waits for a
    /// daemon.
    virtual bool is_in_process() const noexcept = 0;
    /// The options to open another connection to the same daemon; null if avirt did not open this one, or if
    /// there is no daemon.
    virtual std::shared_ptr<const connect_options> reopen_options() const = 0;
    /// What the loop knows of the connection's socket; null if there is no socket or it is not known.
    virtual std::shared_ptr<connection_socket> socket() const = 0;
    /// The lane of the connection's jobs in the worker pool.
    virtual std::shared_ptr<job_lane> lane() const = 0;
    virtual void adopt(virConnectPtr connection) = 0;
    virtual virConnectPtr release() = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    /// Closes a connection that is lost. Calls that have begun return by themselves; the others fail.
    virtual void close_lost(const failure& why) noexcept = 0;
    virtual void async_open(open_options options, wait_handler handler, error_details* details) = 0;
    virtual void async_close(wait_handler handler, error_details* details) = 0;
    virtual void async_call(
        std::shared_ptr<call_base> call, call_handler handler, error_details* details) = 0;
    virtual void async_own_call(
        std::shared_ptr<call_base> call, call_handler handler, error_details* details) = 0;
    virtual void async_wait_closed(closed_handler handler, error_details* details) = 0;
    /// Adds an operation that is aborted when the connection's own operations are.
    virtual void add_user(std::weak_ptr<connection_user> user) = 0;
};

} // namespace detail
} // namespace avirt
