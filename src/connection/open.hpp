// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/authentication.hpp"
#include "loop/connection_socket.hpp"

#include <libvirt/libvirt.h>

#include <memory>

namespace avirt::detail {

/// Opens a connection. Blocks. Returns null if that fails.
///
/// @param socket is what the loop knows of the connection's socket from now on.
/// @param why is set on failure.
virConnectPtr connect(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why);

/// Opens a connection for a single stream, whose socket may be left unread for as long as the stream's reader
/// likes. The socket's watch is paused: data that follows the reply to the opener must wait until the
/// stream's callback is registered. Blocks. Returns null if that fails.
virConnectPtr connect_for_stream(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why);

/// Finds the socket of a connection that was opened elsewhere. Blocks. Returns what the loop knows of the
/// socket; null if libvirt does not watch it.
///
/// @param socket is returned, and becomes what the loop knows, if the loop has nothing for the socket yet.
std::shared_ptr<connection_socket> find_socket(
    virConnectPtr connection, const std::shared_ptr<connection_socket>& socket);

/// Whether libvirt does not watch the connection's socket because the connection was opened before the event
/// loop was constructed. Only for a connection whose socket find_socket() did not find.
bool is_unwatched(virConnectPtr connection);

/// The failure of an operation that needs a watched socket on such a connection.
failure unwatched_failure();

/// The failure of an operation whose connection could not be opened in time.
failure open_timed_out();

} // namespace avirt::detail
