// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/call.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace avirt {

/// Why a connection ended: VIR_CONNECT_CLOSE_REASON_*.
enum class close_reason {
    error = VIR_CONNECT_CLOSE_REASON_ERROR,         ///< Something else.
    eof = VIR_CONNECT_CLOSE_REASON_EOF,             ///< The daemon is gone, or the way to it.
    keepalive = VIR_CONNECT_CLOSE_REASON_KEEPALIVE, ///< The daemon did not answer.
    client = VIR_CONNECT_CLOSE_REASON_CLIENT ///< This side: async_close(), or a call that was cancelled.
};

/// Something that libvirt has to know before a daemon lets it in.
struct credential
{
    int type = 0;                 ///< VIR_CRED_*
    std::string prompt{};         ///< What to ask somebody for.
    std::string challenge{};      ///< What the other side adds to it.
    std::string default_result{}; ///< What holds where the result is left empty.
    std::string result{};         ///< To be filled in.
};

/// Fills in the results; false refuses. Runs on a worker thread, and may block.
using authenticator = std::function<bool(std::span<credential>)>;

/// How a connection is opened. Set by name:
///
/// @code
/// avirt::open_options options{"qemu:///system"};
/// options.read_only = true;
/// @endcode
struct open_options
{
    open_options(std::string connection_uri = {}) : uri(std::move(connection_uri)) {}

    std::string uri;              ///< Empty: libvirt's default.
    bool read_only = false;       ///< Without permission to change anything.
    unsigned flags = 0;           ///< VIR_CONNECT_*.
    authenticator authenticate{}; ///< Empty: libvirt looks into its configuration, and asks nobody.
    /// Whether the connections that streams and calls with own_connection open give the same answers, without
    /// asking again. They are kept in memory then, as long as the connection is open.
    bool replay_credentials = true;
    /// How long the daemon may be silent before it is asked for a sign of life; 0: it is never asked, and its
    /// silence never held against it. (Connections that streams have to themselves ask every 3 s at least.)
    std::chrono::seconds keepalive_interval{5};
    /// How many intervals may pass in vain before the connection counts as lost.
    unsigned keepalive_count = 5;
    /// How long opening may take, until it fails with condition::timed_out; 0: as long as it takes. That of
    /// the connections that streams and calls with own_connection open, too.
    std::chrono::milliseconds timeout{30'000};
};

/// Asks for a call on a connection of its own.
struct own_connection_t
{
};

inline constexpr own_connection_t own_connection{};

namespace detail {

class job_lane;
struct connect_options;
struct connection_socket;

using closed_handler = asio::any_completion_handler<void(error_code, close_reason)>;

/// An operation that is made of a connection's, and ends with them.
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
    /// The same with a reference of the caller's own: who supervises a connection may close it at any moment.
    virtual virConnectPtr add_reference() const noexcept = 0;
    /// Opened by avirt, and libvirt's driver is in this process: nothing waits for a daemon.
    virtual bool is_in_process() const noexcept = 0;
    /// With what to open another connection to the same daemon, where this one was opened by avirt and there
    /// is a daemon; null otherwise.
    virtual std::shared_ptr<const connect_options> reopen_options() const = 0;
    /// What the loop knows of its socket; null where there is none, or it is not known.
    virtual std::shared_ptr<connection_socket> socket() const = 0;
    /// What its jobs have in common.
    virtual std::shared_ptr<job_lane> lane() const = 0;
    virtual void adopt(virConnectPtr connection) = 0;
    virtual virConnectPtr release() = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;
    /// Closes a connection that is lost: what has begun on it ends by itself, what has not fails.
    virtual void close_lost(const failure& why) noexcept = 0;
    virtual void async_open(open_options options, wait_handler handler, error_details* details) = 0;
    virtual void async_close(wait_handler handler, error_details* details) = 0;
    virtual void async_call(
        std::shared_ptr<call_base> call, call_handler handler, error_details* details) = 0;
    virtual void async_own_call(
        std::shared_ptr<call_base> call, call_handler handler, error_details* details) = 0;
    virtual void async_wait_closed(closed_handler handler, error_details* details) = 0;
    /// Has it aborted when the connection's own operations are.
    virtual void add_user(std::weak_ptr<connection_user> user) = 0;
};

} // namespace detail
} // namespace avirt
