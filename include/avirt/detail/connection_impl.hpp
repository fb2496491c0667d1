// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/call.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace avirt {

struct open_options
{
    std::string uri{};      ///< Empty: libvirt's default.
    bool read_only = false; ///< Without permission to change anything.
    unsigned flags = 0;     ///< VIR_CONNECT_*.
    /// How long the daemon may be silent before it is asked for a sign of life; 0: it is never asked.
    std::chrono::seconds keepalive_interval{5};
    /// How many intervals may pass in vain before the connection counts as lost.
    unsigned keepalive_count = 5;
};

namespace detail {

struct connection_link;

/// The one compiled implementation behind every basic_connection.
class AVIRT_DECL connection_impl
{
public:
    static std::shared_ptr<connection_impl> make(const asio::any_io_executor& executor);
    virtual ~connection_impl();

    virtual virConnectPtr native_handle() const noexcept = 0;
    /// Opened by avirt, and libvirt's driver is in this process: nothing waits for a daemon.
    virtual bool is_in_process() const noexcept = 0;
    /// With what to open another connection to the same daemon, where this one was opened by avirt and there
    /// is a daemon.
    virtual std::optional<open_options> reopen_options() const = 0;
    /// What the loop knows of its socket; null where there is none, or it is not known.
    virtual std::shared_ptr<connection_link> link() const = 0;
    virtual void adopt(virConnectPtr connection) = 0;
    virtual virConnectPtr release() = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual void async_open(open_options options, wait_handler handler, error_details* details) = 0;
    virtual void async_close(wait_handler handler, error_details* details) = 0;
    virtual void async_call(
        std::shared_ptr<call_base> call, call_handler handler, error_details* details) = 0;
};

} // namespace detail
} // namespace avirt
