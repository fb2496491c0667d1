// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/credential.hpp>

#include <chrono>
#include <string>
#include <utility>

namespace avirt {

/// Options of basic_connection::async_open().
///
/// @code
/// avirt::open_options options{"qemu:///system"};
/// options.read_only = true;
/// co_await conn.async_open(options);
/// @endcode
struct open_options
{
    /// @param connection_uri libvirt's connection URI; empty: libvirt's default.
    open_options(std::string connection_uri = {}) : uri(std::move(connection_uri)) {}

    std::string uri;        ///< libvirt's connection URI; empty: libvirt's default.
    bool read_only = false; ///< Whether to open the connection without permission to change anything.
    unsigned flags = 0;     ///< VIR_CONNECT_*.
    /// Answers the daemon's questions. If empty, libvirt reads its configuration files and asks no one.
    authenticator authenticate{};
    /// Whether the connections that streams and calls with own_connection open reuse the answers without
    /// asking again. The answers stay in memory as long as the connection is open.
    bool replay_credentials = true;
    /// How long the daemon may be silent before libvirt asks it for a sign of life. Zero: libvirt never asks,
    /// and a silent daemon is not taken for a lost one. Connections of single streams ask at least every 3 s.
    std::chrono::seconds keepalive_interval{5};
    /// The connection counts as lost after keepalive_interval * (keepalive_count + 1) of silence: 30 s by
    /// default.
    unsigned keepalive_count = 5;
    /// Maximum time to open the connection, after which opening fails with condition::timed_out; zero: no
    /// limit. Also applies to the connections that streams and calls with own_connection open.
    std::chrono::milliseconds timeout{30'000};
};

} // namespace avirt
