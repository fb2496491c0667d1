// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/authentication.hpp"
#include "loop/connection_socket.hpp"

#include <libvirt/libvirt.h>

#include <memory>

namespace avirt::detail {

/// Opens a connection whose socket the loop knows by the link. Blocks; null where it fails, and why.
virConnectPtr connect(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why);

/// The same, for one stream alone: its socket may be left unread for as long as the stream's reader likes.
/// It is paused: what follows the answer to the opener must wait until the stream listens.
virConnectPtr connect_for_stream(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why);

/// What the loop knows of the socket of a connection that was opened elsewhere: @p link, where nothing was
/// known yet; null where libvirt does not watch one. Blocks.
std::shared_ptr<connection_socket> find_socket(
    virConnectPtr connection, const std::shared_ptr<connection_socket>& socket);

/// Whether libvirt does not watch the connection's socket because it was opened before the event loop was
/// made. Only for a connection whose socket find_socket() did not find.
bool is_unwatched(virConnectPtr connection);

/// Why what needs a watched socket is refused on such a connection.
failure unwatched_failure();

/// What an operation fails with if the connection was not open in time.
failure open_timed_out();

} // namespace avirt::detail
