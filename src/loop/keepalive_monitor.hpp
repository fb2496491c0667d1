// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/timeout_table.hpp"
#include "loop/watch_table.hpp"

namespace avirt::detail {

/// What to do when the timer of libvirt's keepalive on a connection is due.
enum class keepalive_action {
    call_libvirt,   ///< Call the timer's callback, which sends a PING or gives the connection up.
    send_pong,      ///< Keep the daemon content without reading: see send_pong().
    serve_writable, ///< Let libvirt send what it has to send, without reading.
    skip,           ///< Do nothing this time.
    interrupt       ///< The daemon was silent for too long.
};

/// Decides what to do, and counts the intervals without a sign of life. @p keepalive is the timer of a
/// connection's socket. Call with the lock of the tables held.
///
/// The timer's callback must not block: it is not called while the socket takes no PING. Nor may it read from
/// a paused socket: libvirt reads while it writes, and a PING for each of many intervals would bring any
/// amount of data into its queue (docs/libvirt.md, "Backpressure").
keepalive_action supervise_keepalive(const timeout_table::timeout& keepalive, watch_table& watches) noexcept;

} // namespace avirt::detail
