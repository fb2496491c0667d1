// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/authentication.hpp"
#include "core/fork_gate.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <memory>
#include <utility>

namespace avirt::detail {

/// The libvirt connection behind a basic_connection. The parts that open it, close it, call functions on it
/// and wait for its end share this state, and its mutex guards all of them.
struct connection_state
{
    explicit connection_state(const asio::any_io_executor& io_executor) : executor(io_executor) {}

    /// Whether the connection leads to a daemon, as far as is known.
    bool is_remote() const noexcept
    {
        return socket && socket->is_remote;
    }

    /// Whether avirt opened the connection, and libvirt's driver is in this process.
    bool is_in_process() const noexcept
    {
        return options && socket && !socket->is_remote;
    }

    /// Whether the connection was opened elsewhere, and its socket has not been found yet.
    bool is_socket_unknown() const noexcept
    {
        return connection && !options && !socket->is_remote;
    }

    /// The options to open another connection to the same daemon; null if they are not known, or if there is
    /// no daemon.
    std::shared_ptr<const connect_options> reopen_options() const
    {
        return connection && is_remote() ? options : nullptr;
    }

    /// Takes over a connection that was opened elsewhere. The first call on it finds its socket.
    void adopt(virConnectPtr opened_elsewhere)
    {
        socket = std::make_shared<connection_socket>();
        connection = opened_elsewhere;
        use = connection_use(socket);
    }

    /// Hands over libvirt's connection, or null, to the caller.
    virConnectPtr release() noexcept
    {
        use.end();
        socket.reset();
        options.reset();
        why_not_open = {};
        return std::exchange(connection, nullptr);
    }

    /// Why operations cannot be started. The details say why the connection is not open, if it was lost or
    /// could not be opened.
    failure not_open() const
    {
        failure f = error::not_open;
        f.details = why_not_open;
        return f;
    }

    fork_safe_mutex mutex;
    asio::any_io_executor executor; // empty once the context has ended
    virConnectPtr connection = nullptr;
    std::shared_ptr<const connect_options> options; // null if the connection was opened elsewhere
    error_details why_not_open{};
    std::shared_ptr<connection_socket> socket;
    connection_use use; // while the connection is open
    std::shared_ptr<job_lane> lane = std::make_shared<job_lane>();
};

} // namespace avirt::detail
